"""The batches of an epoch: what a resumed process and several processes see of them."""

import pytest
import torch

from longtail import batches
from longtail.artifacts import Images, Split
from longtail.augment import Augmentation, draw_augmentation, image_policy
from longtail.batches import Batching, Epoch
from longtail.data import ImageStore
from longtail.distributed import World
from tests.steps.validate_fixtures import digits, write_artifacts

CPU = torch.device("cpu")
GREY = (128, 128, 128)
JITTER = (0.4, 0.4, 0.4, 0.1)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    images, split = write_artifacts(tmp_path_factory.mktemp("batches"), digits())
    store = ImageStore(Images(images), Split(split).train, size=8)  # 21 images
    store.make_resident(CPU)
    return store


def epoch(train: ImageStore, auto: str | None = "cifar10", *, size=4, rank=0, ranks=1) -> Epoch:
    policy = image_policy(auto, color_jitter=JITTER, color=GREY)
    batching = Batching(
        batch_size=size,
        seed=0,
        order=lambda epoch, generator: torch.randperm(len(train), generator=generator),
        augmentation=Augmentation(
            crop_padding=1, rotation=10.0, policy=policy, cutout=3, cutout_color=GREY
        ),
        mixup_alpha=0.0,
        cutmix_alpha=0.0,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    return Epoch(batching, train, number=3, processes=World(rank, ranks, CPU))


def inputs(epoch: Epoch, *, start: int = 0) -> list[torch.Tensor]:
    return [batch.inputs for batch in epoch.batches(start=start)]


@pytest.mark.parametrize("auto", ["cifar10", "rand-m9-mstd0.5", None])
def test_an_epoch_goes_on_with_the_batches_that_were_left(train, auto):
    whole = inputs(epoch(train, auto))
    rest = inputs(epoch(train, auto), start=2)
    assert len(whole) == 5 and len(rest) == 3
    assert all(ours.equal(before) for ours, before in zip(rest, whole[2:], strict=True))


@pytest.mark.parametrize("auto", ["cifar10", "rand-m9-mstd0.5", None])
def test_several_processes_share_the_batches_of_one(train, auto):
    alone = inputs(epoch(train, auto))
    shares = [inputs(epoch(train, auto, rank=rank, ranks=2)) for rank in (0, 1)]
    together = [torch.cat(parts) for parts in zip(*shares, strict=True)]
    assert all(ours.equal(theirs) for ours, theirs in zip(together, alone, strict=True))


def test_how_many_images_are_augmented_at_once_changes_nothing(train, monkeypatch):
    at_once = inputs(epoch(train))
    monkeypatch.setattr(batches, "_AT_ONCE", 2 * 4 * 8 * 8 * 3)
    assert all(a.equal(b) for a, b in zip(inputs(epoch(train)), at_once, strict=True))


@pytest.mark.parametrize(
    ("size", "ranks", "sizes"),
    [(4, 1, [4] * 5), (4, 2, [4] * 5), (8, 1, [8, 8, 5]), (9, 2, [9, 9]), (50, 1, [21])],
)
def test_a_rest_too_small_for_batch_norm_on_every_process_is_left_out(train, size, ranks, sizes):
    found = [len(b.all_labels) for b in epoch(train, size=size, ranks=ranks).batches()]
    assert found == sizes
    assert epoch(train, size=size, ranks=ranks).images() == sum(sizes)


def test_labels_are_those_of_the_images_in_their_order(train):
    drawn = torch.cat([batch.labels for batch in epoch(train, size=7).batches()])
    assert torch.bincount(drawn).tolist() == torch.bincount(train.labels).tolist()


def test_images_that_have_to_be_read_are_wanted_batch_by_batch(tmp_path):
    """Else reading would not go on beside training, and hold many batches in memory."""
    images, split = write_artifacts(tmp_path, digits())
    store = ImageStore(Images(images), Split(split).train, size=8)
    wanted = []
    stream = store.stream
    store.stream = lambda asked: stream(wanted.extend(asked := list(asked)) or asked)
    list(epoch(store).batches())
    assert list(map(len, wanted)) == [4] * 5


def test_policies_of_timm_draw_for_each_image_and_autoaugment_for_one_of_each_batch(train):
    for auto, at_once in (("rand-m9-mstd0.5", False), ("cifar10", True)):
        policy = image_policy(auto, color_jitter=(0.0,) * 4, color=GREY)
        augmentation = Augmentation(policy=policy, policy_at_once=at_once)
        seeds = draw_augmentation(
            augmentation, 100, generator=torch.Generator().manual_seed(0), batch_size=10
        ).policy
        assert len(seeds.unique()) == (10 if at_once else 100)
