#!/bin/sh
# Make a tree of NVIDIA's libraries as small as a machine without GPU needs it: 3.1 GB -> 11 MB.
#
# torch from the package index is linked against CUDA, so the loader wants every linked library and
# symbol before `import torch`, although nothing is called without a GPU. The small libraries stay;
# the other linked ones become hollow: the same names and versions, every function returns 1, which
# is an error in each of these interfaces. What torch would load only later is deleted.
set -eu

cd "$1"
kept='libcudart libcufile libcupti'
hollow='libcublas libcublasLt libcudnn libcufft libcusparse libcusparseLt libnccl libnvrtc libnvshmem_host'
work=$(mktemp -d)

hollow_out() {
    soname=$(readelf --dynamic "$1" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
    # Columns: address, type, name@@version. T, W and i are functions; other types are data.
    nm --dynamic --defined-only "$1" | awk '$3 ~ /^[A-Za-z_]/ && $2 != "A"' > "$work/symbols"
    version=$(sed -n 's/.*@//p' "$work/symbols" | sort -u)
    echo "${version} { global: *; };" > "$work/map"
    awk '{ sub(/@.*/, "", $3); print ($2 ~ /[TWi]/) ? "int " $3 "(void) { return 1; }" : "char " $3 "[4096];" }' \
        "$work/symbols" | grep -vw -e _init -e _fini | sort -u > "$work/hollow.c"
    gcc -shared -fPIC -w -O1 -fno-builtin -s -Wl,-soname,"$soname" \
        -Wl,--version-script="$work/map" -o "$1" "$work/hollow.c"
}

for name in $hollow; do
    hollow_out "$(echo */lib/"$name".so.[0-9]*)"
done
find . -type f | while read -r file; do
    stem=$(basename "$file"); stem=${stem%%.so.*}
    case " $kept $hollow " in *" $stem "*) ;; *) rm "$file" ;; esac
done
find . -type d -empty -delete
rm -r "$work"
