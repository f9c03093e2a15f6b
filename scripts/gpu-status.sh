#!/usr/bin/env bash
# Writes docs/gpu-status.md: of each kernel, which test has run it on the emulator, and where it was last run on a GPU.
#   scripts/gpu-status.sh [--check] [BUILD]
# With --check it writes nothing and says whether the page is what it would write. BUILD (build/release) must have been built
# where nvcc is, and its tests run: the kernels come from the one, what was executed from the other. Results from GPUs are the
# files bench/results/gpu-*.json that scripts/gpu-check.sh leaves.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
page="$root/docs/gpu-status.md"
check=''
if [[ ${1:-} == --check ]]; then
    check=1
    shift
fi
build="${1:-$root/build/release}"

die() {
    printf '%s\n' "gpu-status: $*" >&2
    exit 1
}

mapfile -t stems < <(sed -n 's|^    &krn_cuda_image_\(.*\),$|\1|p' "$build/native/cuda/images.c" 2>/dev/null)
((${#stems[@]})) || die "$build holds no kernels: build it where nvcc is."
executed="$build/tests/native/cuda/executed"
compgen -G "$executed/*.txt" >/dev/null || die "no test of kernels has run in $build: run ctest --test-dir $build -L cuda first."

# Kernel and source, sorted by kernel.
kernels() {
    local stem
    for stem in "${stems[@]}"; do
        sed -n -e 's|^/\* Written by .* from \(.*\)\. \*/$|source \1|p' -e 's|^    "\(krn_[a-z0-9_]*\)",$|\1|p' \
            "$build/native/cuda/fatbins/$stem.c" |
            awk '$1 == "source" { source = $2; next } { print $1, source }'
    done | sort -u
}

# Kernel and the tests that have run it on the emulator.
emulated() {
    local file
    for file in "$executed"/*.txt; do
        sed "s|$| $(basename "$file" .txt)|" "$file"
    done | sort -u | awk '{ tests[$1] = tests[$1] (tests[$1] == "" ? "" : ", ") $2 } END { for (k in tests) print k "\t" tests[k] }'
}

# Kernel, device, date and file of the newest result in which a test that passed ran it. Results are one test a line.
on_gpu() {
    local file
    for file in "$root"/bench/results/gpu-*.json; do
        [[ -f $file ]] || continue
        awk -v file="$(basename "$file")" '
            function value(name,    text) {
                if (!match($0, "\"" name "\": \"[^\"]*\"")) return ""
                text = substr($0, RSTART, RLENGTH)
                sub(/^"[^"]*": "/, "", text)
                return substr(text, 1, length(text) - 1)
            }
            /"created_utc"/ && date == "" { date = substr(value("created_utc"), 1, 10) }
            /"device"/ && device == "" { device = value("name") }
            /"test": / && /"status": "passed"/ {
                list = $0
                sub(/.*"kernels": \[/, "", list)
                sub(/\].*/, "", list)
                n = split(list, kernel, /[", ]+/)
                for (i = 1; i <= n; i++) if (kernel[i] != "") print kernel[i] "\t" date "\t" device "\t" file
            }' "$file"
    done | sort -t "$(printf '\t')" -k1,1 -k2,2 | awk -F '\t' '{ last[$1] = $0 } END { for (k in last) print last[k] }'
}

write_page() {
    cat <<'END'
# Which kernels have run where

Written by `scripts/gpu-status.sh`; do not edit. CI has no GPU: there every kernel is compiled for each architecture, its machine code is
checked (`scripts/sass-check.sh`), and the tests below run its source on the emulator, against the CPU library. What was shown on a GPU is in
the result file named, with correctness and speed; nothing else in this project claims speed on a GPU.

| kernel | source in `native/cuda` | emulated by `native.cuda.` | last on a GPU | date | result |
|---|---|---|---|---|---|
END
    awk -F '\t' '
        FILENAME == ARGV[1] { tests[$1] = $2; next }
        FILENAME == ARGV[2] { gpu[$1] = $3 " | " $2 " | [" $4 "](../bench/results/" $4 ")"; next }
        {
            split($0, part, " ")
            source = part[2]
            sub(/^native\/cuda\//, "", source)
            total++
            if (part[1] in tests) emulated++
            if (part[1] in gpu) shown++
            print "| `" part[1] "` | `" source "` | " (part[1] in tests ? tests[part[1]] : "**none**") " | " \
                (part[1] in gpu ? gpu[part[1]] : "never | | ") " |"
        }
        END { printf "\n%d kernels, %d emulated, %d shown on a GPU.\n", total, emulated, shown }' "$1" "$2" "$3"
}

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
emulated >"$work/emulated"
on_gpu >"$work/gpu"
kernels >"$work/kernels"
write_page "$work/emulated" "$work/gpu" "$work/kernels" >"$work/page"
if [[ -z $check ]]; then
    cp "$work/page" "$page"
    tail -n 1 "$page"
elif ! diff -u "$page" "$work/page" >&2; then
    die "docs/gpu-status.md is not what was run: run scripts/gpu-status.sh and commit the page."
elif grep -q '\*\*none\*\*' "$page"; then
    die "docs/gpu-status.md names kernels that no test runs."
fi
