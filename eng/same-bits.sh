#!/usr/bin/env bash
# Holds the results of every instruction set to one golden file: integer GEMM cells, quantizers, the Hadamard transform in
# f32, attention on integer keys and values, fused steps.
#
#   eng/same-bits.sh [--junit FILE]     compare; one test case per run and level
#   eng/same-bits.sh --update           write the golden file from the reference of this machine
#
# Runs build/PRESET/bin/same_bits of every preset that was built: `release` here, `linux-arm64` under qemu as three
# processors, `win-x64` under wine. Before it believes itself, it checks that a changed and a missing hash are noticed.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
golden="$root/tests/data/golden/same_bits.txt"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# compare RUN < lines `op case isa hash`: one line `RUN LEVEL cases N differences N: first` per level.
compare() {
    awk -v run="$1" '
        NR == FNR { golden[$1 " " $2] = $3; total++; next }
        {
            level = $3
            if (!(level in cases)) order[++levels] = level
            cases[level]++
            key = $1 " " $2
            if (golden[key] != $4) {
                if (!(level in bad)) first[level] = key
                bad[level]++
            }
        }
        END {
            for (i = 1; i <= levels; i++) {
                level = order[i]
                if (cases[level] != total) {
                    if (!(level in bad)) first[level] = "cases that are missing or not in the golden file"
                    bad[level] += cases[level] > total ? cases[level] - total : total - cases[level]
                }
                printf "%s %s cases %d differences %d%s\n", run, level, cases[level], bad[level],
                       bad[level] ? ": " first[level] : ""
            }
            if (levels == 0) printf "%s none cases 0 differences 1: the program printed nothing\n", run
        }' "$golden" -
}

# run NAME LEVELS PROGRAM COMMAND...: what the program prints, if it was built. LEVELS are those that must be among it.
run() {
    local name=$1 levels=$2 program=$3 level
    shift 3
    if [[ ! -f $program ]] || { (($#)) && ! command -v "$1" >/dev/null; }; then
        echo "same-bits: $name left out, for want of ${program#"$root/"}${1:+ or $1}" >&2
        return
    fi
    "$@" "$program" | tr -d '\r' >"$work/run" ||
        echo "$name program cases 0 differences 1: it failed" >>"$work/table"
    compare "$name" <"$work/run" >>"$work/table"
    for level in $levels; do
        grep -q "^$name $level " "$work/table" ||
            echo "$name $level cases 0 differences 1: the level is missing" >>"$work/table"
    done
}

junit='' update=''
while (($#)); do
    case $1 in
        --junit)
            junit=${2:?--junit needs a file}
            shift 2
            ;;
        --update)
            update=1
            shift
            ;;
        *)
            echo "usage: eng/same-bits.sh [--junit FILE | --update]" >&2
            exit 2
            ;;
    esac
done

if [[ -n $update ]]; then
    KRN_TEST_LEVEL=ref "$root/build/release/bin/same_bits" | awk '{ print $1, $2, $4 }' | LC_ALL=C sort >"$golden"
    wc -l "$golden"
    exit
fi

: >"$work/table"
run native ref "$root/build/release/bin/same_bits"
arm="$root/build/linux-arm64/bin/same_bits"
QEMU_CPU=cortex-a53 run linux-arm64-cortex-a53 neon "$arm" qemu-aarch64 -L /usr/aarch64-linux-gnu
QEMU_CPU=neoverse-n1 run linux-arm64-neoverse-n1 neon_dotprod "$arm" qemu-aarch64 -L /usr/aarch64-linux-gnu
QEMU_CPU=max run linux-arm64-max 'neon_i8mm neon_bf16' "$arm" qemu-aarch64 -L /usr/aarch64-linux-gnu
export WINEPREFIX="$root/build/win-x64/wine" WINEDEBUG=-all
run win-x64 ref "$root/build/win-x64/bin/same_bits.exe" wine
[[ -s $work/table ]] || { echo "same-bits: nothing was built" >&2 && exit 1; }

# Planted: the last digit of a hash in the middle is another; a case is missing. Each has to be one difference.
middle=$(($(wc -l <"$golden") / 2))
awk '{ print $1, $2, "ref", $3 }' "$golden" >"$work/perfect"
sed "${middle}s/.\$/x/" "$work/perfect" | compare changed >"$work/planted"
sed "${middle}d" "$work/perfect" | compare missing >>"$work/planted"
if [[ $(awk '{ print $6 + 0 }' "$work/planted" | tr '\n' ' ') != '1 1 ' ]]; then
    echo "planted difference cases 2 differences 1: it was not noticed" >>"$work/table"
fi
column -t -l 6 "$work/table" 2>/dev/null || cat "$work/table"

if [[ -n $junit ]]; then
    awk '
        BEGIN { print "<testsuite name=\"same-bits\">" }
        {
            name = "same_bits." $1 "." $2
            message = $0
            sub(/^.*differences /, "", message)
            if ($6 + 0 == 0) printf "  <testcase name=\"%s\" status=\"run\"/>\n", name
            else printf "  <testcase name=\"%s\" status=\"fail\"><failure message=\"differences: %s\"/></testcase>\n", name, message
        }
        END { print "</testsuite>" }' "$work/table" >"$junit"
fi
awk '$6 + 0 != 0 { bad = 1 } END { exit bad }' "$work/table"
