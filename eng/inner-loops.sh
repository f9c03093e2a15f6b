#!/usr/bin/env bash
# The inner loops of the ARM kernels against the limit of the multiply pipes, by static analysis of what is shipped.
#
#   eng/inner-loops.sh                                  the table for build/linux-arm64/lib/libkernels_cpu.so
#   eng/inner-loops.sh FILE SYMBOL INSTRUCTIONS CPU     one line for a function of any object or library
#
# In the disassembly of a function the inner loop is, of the backward branches without a call or another loop between
# target and branch, the one with the most sums: different destinations of the named instructions (an extended regular
# expression). Of several it is the one of whose instructions most are among the named ones. That is
# the loop of full tiles. llvm-mca gives its cycles per round, and those of the named instructions alone, which is the
# limit. Needs llvm-mca (19, or the one that LLVM_MCA names) and aarch64-linux-gnu-objdump.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
mca=${LLVM_MCA:-llvm-mca-19}
objdump=${OBJDUMP:-aarch64-linux-gnu-objdump}
for tool in "$mca" "$objdump"; do
    command -v "$tool" >/dev/null || { echo "inner-loops: $tool is missing" >&2 && exit 1; }
done
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# cycles CPU FILE: cycles per round of a loop body.
cycles() {
    "$mca" -mtriple=aarch64 -mcpu="$1" -mattr=+dotprod,+i8mm,+bf16 -iterations=200 "$2" 2>/dev/null |
        awk '/^Total Cycles:/ { printf "%.2f\n", $3 / 200 }'
}

# loop FILE SYMBOL INSTRUCTIONS: the body of the inner loop, in assembly.
loop() {
    "$objdump" -d --no-show-raw-insn --disassemble="$2" "$1" | awk -v wanted="^($3)\$" '
        /^ *[0-9a-f]+:\t/ {
            line = $0
            sub(/^ */, "", line)
            address = substr(line, 1, index(line, ":") - 1)
            text = substr(line, index(line, "\t") + 1)
            sub(/[ \t]*\/\/.*$/, "", text)
            sub(/ *<.*$/, "", text)
            at[n] = address; code[n] = text; place[address] = n; n++
        }
        END {
            for (i = 0; i < n; i++) {
                if (code[i] !~ /^(b\.|cbn?z|tbn?z)/) continue
                target = code[i]
                sub(/^.*[ \t]/, "", target)
                if (!(target in place) || place[target] >= i) continue
                from = place[target]
                count = inner = sums = 0
                split("", is_sum)
                for (j = from; j < i; j++) {
                    split(code[j], word, /[ \t]/)
                    if (word[1] ~ wanted) {
                        count++
                        if (!(word[2] in is_sum)) { is_sum[word[2]] = 1; sums++ }
                    }
                    if (word[1] ~ /^(bl|blr|b|br|ret)$/) inner = 1
                    if (code[j] ~ /^(b\.|cbn?z|tbn?z)/) {
                        other = code[j]
                        sub(/^.*[ \t]/, "", other)
                        if (!(other in place) || place[other] <= j || place[other] > i) inner = 1
                    }
                }
                if (inner) continue
                # 24 of 32 registers are the sums of a full tile.
                if (sums > 24) sums = 24
                density = count / (i - from + 1)
                if (sums > most || (sums == most && density > best)) { most = sums; best = density; first = from; last = i }
            }
            if (!most) exit 1
            print ".L0:"
            for (j = first; j < last; j++) print code[j] ~ /^(b\.|cbn?z|tbn?z)/ ? "nop" : code[j]
            sub(/[0-9a-f]+$/, ".L0", code[last])
            print code[last]
        }'
}

# measure FILE SYMBOL INSTRUCTIONS CPU: multiplications, instructions, cycles, limit, share.
measure() {
    loop "$1" "$2" "$3" >"$work/loop.s" || { echo "inner-loops: no loop of $3 in $2" >&2 && return 1; }
    grep -E "^($3)[[:space:]]" "$work/loop.s" >"$work/products.s"
    awk -v products="$(wc -l <"$work/products.s")" -v all="$(($(wc -l <"$work/loop.s") - 1))" \
        -v cycles="$(cycles "$4" "$work/loop.s")" -v limit="$(cycles "$4" "$work/products.s")" \
        'BEGIN { printf "%d | %d | %.1f | %.1f | %.0f%%", products, all, cycles, limit, 100 * limit / cycles }'
}

row() {
    printf '| %s | `%s` | %s | %s |\n' "$1" "$5" "${4//|/, }" "$(measure "$2" "$3" "$4" "$5")"
}

if (($# == 4)); then
    row "$2" "$@"
    exit
fi
(($# == 0)) || { echo "usage: eng/inner-loops.sh [FILE SYMBOL INSTRUCTIONS CPU]" >&2 && exit 2; }
library="$root/build/linux-arm64/lib/libkernels_cpu.so"
[[ -f $library ]] || { echo "inner-loops: build the preset linux-arm64 first" >&2 && exit 1; }
echo '| kernel | processor | instruction | products | instructions | cycles | limit | share |'
echo '|---|---|---|---:|---:|---:|---:|---:|'
for cell in w8a8 w4a8; do
    row "$cell I8MM" "$library" "krn_${cell}_neon_i8mm_tile" usmmla neoverse-v2
    row "$cell DotProd" "$library" "krn_${cell}_neon_dotprod_tile" sdot neoverse-n1
done
for cell in w8a16 w4a16; do
    row "$cell BF16" "$library" "krn_${cell}_neon_bf16_tile" bfmmla neoverse-v2
    row "$cell f32" "$library" "krn_${cell}_neon_tile" fmla neoverse-v2
    row "$cell f32" "$library" "krn_${cell}_neon_tile" fmla neoverse-n1
done
