"""Near-duplicate search: the bands find what comparing all pairs finds."""

import numpy as np
import pytest

from longtail.validation.near_duplicates import near_duplicates, pairs_within


def clustered(rng: np.random.Generator, size: int) -> np.ndarray:
    """Distinct 64-bit values around 40 centres, so that close pairs exist."""
    centres = rng.integers(0, 2**63, 40, dtype=np.uint64)
    values = centres[rng.integers(0, 40, size)]
    for _ in range(4):
        values = values ^ (np.uint64(1) << rng.integers(0, 64, size, dtype=np.uint64))
    return np.unique(values)


@pytest.mark.parametrize("distance", [1, 2, 5, 12, 40, 63, 64])
def test_bands_find_every_pair_that_all_comparisons_find(distance: int) -> None:
    values = clustered(np.random.default_rng(distance), 300)
    bits = np.array([[bin(int(a) ^ int(b)).count("1") for b in values] for a in values])
    expected = np.argwhere(np.triu(bits <= distance, 1))
    first, second = pairs_within(values, distance=distance)
    assert np.stack([first, second], axis=1).tolist() == expected.tolist()


def test_no_pairs_among_no_values() -> None:
    first, second = pairs_within(np.zeros(0, np.uint64), distance=3)
    assert len(first) == len(second) == 0


def links(hashes: list[int], identity: list[int], split: list[int], distance: int) -> list[tuple]:
    found = near_duplicates(
        np.array(hashes, np.uint64),
        np.array(identity),
        np.array(split, np.uint8),
        distance=distance,
    )
    return list(
        zip(found.first.tolist(), found.second.tolist(), found.distance.tolist(), strict=True)
    )


def test_equal_hashes_of_different_images_in_two_splits_are_one_link() -> None:
    assert links([7, 7, 9, 7], [0, 1, 2, 3], [0, 0, 0, 2], 0) == [(0, 3, 0)]


def test_exact_duplicates_and_images_of_one_split_are_no_link() -> None:
    assert links([7, 7, 9, 9], [0, 0, 1, 2], [0, 2, 1, 1], 0) == []


def test_two_close_hashes_are_linked_by_images_of_different_splits() -> None:
    # 0b100 has an image in split 0 and one in split 2, 0b101 one in split 2 only.
    assert links([4, 4, 5], [0, 0, 1], [0, 2, 2], 1) == [(0, 2, 1)]
    assert links([5, 4, 4], [1, 0, 0], [0, 0, 2], 1) == [(2, 0, 1)]
    assert links([4, 5], [0, 1], [1, 1], 1) == []


def test_a_hash_that_many_images_share_is_one_link() -> None:
    count = 3000
    assert links([0] * count, list(range(count)), [0] * (count - 1) + [2], 4) == [(0, count - 1, 0)]
