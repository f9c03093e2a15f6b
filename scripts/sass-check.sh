#!/usr/bin/env bash
# Checks the machine code of the kernels, which needs no GPU; see usage() below.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly root

usage() {
    cat <<'END'
usage: scripts/sass-check.sh [BUILD]

Prints, for every kernel and architecture in BUILD (build/release), the registers, spilled bytes, stack, static shared memory
and the counts of all instructions (16 bytes each: what exceeds some 8000 exceeds the instruction cache) and of those that
matter. Fails when a kernel spills or keeps an array on the stack, when one lacks an instruction that
scripts/sass-expected.txt demands of it, or when the two do not fit: a kernel that no line speaks of, a line that speaks of
no kernel. Needs what the build needed: nvcc's folder, with cuobjdump.
END
}

die() {
    printf '%s\n' "sass-check: $*" >&2
    exit 1
}

case ${1:-} in -h | --help) usage && exit 0 ;; esac
build="${1:-$root/build/release}"
fatbins="$build/native/cuda/fatbins"
nvcc="$(sed -n 's/^KRN_NVCC:[A-Z]*=//p' "$build/CMakeCache.txt" 2>/dev/null || true)"
cuobjdump="$(dirname "${nvcc:-/nowhere/nvcc}")/cuobjdump"
[[ -x $cuobjdump ]] || cuobjdump="$(command -v cuobjdump)" || die "there is no cuobjdump beside nvcc (${nvcc:-none}) or on the PATH."
# Those that the library holds now; others may be left of sources that are gone.
mapfile -t stems < <(sed -n "s|^    &krn_cuda_image_\(.*\),$|$fatbins/\1|p" "$build/native/cuda/images.c" 2>/dev/null)
((${#stems[@]})) || die "$build holds no kernels: build kernels_cuda where nvcc is."

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# What ptxas said: kernel, architecture, registers, stack, spilled bytes, shared memory.
resources() {
    cat "${stems[@]/%/.log}" | awk '
        /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; architecture = part[4] }
        /bytes stack frame/ && kernel != "" { stack = $1; spills = $5 + $9 }
        /Used [0-9]+ registers/ && kernel != "" {
            shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) + 0 : 0
            for (i = 1; i < NF; i++) if ($i == "Used") registers = $(i + 1)
            print kernel, architecture, registers, stack, spills, shared
            kernel = ""
        }'
}

# counts FATBIN: what its machine code holds: kernel, architecture, then a count for each instruction of the list.
export instructions="ALL IMMA HMMA IGMMA HGMMA LDSM LDGSTS UBLKCP UTMALDG LDL STL"
counts() {
    "$cuobjdump" -sass "$1" | awk -v list="$instructions" '
        function flush(    i) {
            if (kernel == "") return
            line = kernel " " architecture
            for (i = 1; i <= n; i++) line = line " " count[names[i]] + 0
            print line
            delete count
            kernel = ""
        }
        BEGIN { n = split(list, names, " ") }
        /code for sm_/ { flush(); architecture = $3 }
        /Function :/ { flush(); kernel = $3 }
        /^ +\/\*[0-9a-f]+\*\/ / {
            opcode = $2 ~ /^@/ ? $3 : $2
            sub(/[.;].*/, "", opcode)
            count[opcode]++
            count["ALL"]++
        }
        END { flush() }'
}

# A fatbin to each core, the largest first.
all_counts() {
    export cuobjdump work
    export -f counts
    ls -S "${stems[@]/%/.fatbin}" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -I {} \
        bash -eo pipefail -c 'counts "$1" >"$work/$(basename "$1").counts"' counts {}
    cat "$work"/*.counts
}

resources | sort >"$work/resources"
all_counts | sort >"$work/counts"
# sm_90 is what older tools call sm_90a; one name for both halves.
sed -i 's/ sm_90 / sm_90a /' "$work/resources" "$work/counts"

awk -v list="$instructions" -v expected="$root/scripts/sass-expected.txt" '
    function glob_to_regex(glob) {
        gsub(/[.+^$()|{}\[\]\\]/, "\\\\&", glob)
        gsub(/\*/, ".*", glob)
        return "^" glob "$"
    }
    function complain(text) { print "sass-check: " text > "/dev/stderr"; failed++ }
    BEGIN {
        names = split(list, name, " ")
        while ((getline line < expected) > 0) {
            sub(/#.*/, "", line)
            fields = split(line, field, " ")
            if (fields < 3) continue
            rules++
            rule_text[rules] = field[1] " on " field[2]
            rule_kernel[rules] = glob_to_regex(field[1])
            rule_architecture[rules] = glob_to_regex(field[2])
            rule_needs[rules] = ""
            for (i = 3; i <= fields; i++) rule_needs[rules] = rule_needs[rules] " " field[i]
        }
        printf "%-58s %-7s %5s %6s %6s %7s", "kernel", "arch", "regs", "spill", "stack", "shared"
        for (i = 1; i <= names - 2; i++) printf " %7s", name[i]
        print ""
    }
    FNR == NR { key = $1 " " $2; registers[key] = $3; stack[key] = $4; spills[key] = $5; shared[key] = $6; next }
    {
        key = $1 " " $2
        if (!(key in registers)) { complain(key ": ptxas said nothing of it"); next }
        seen[key] = 1
        printf "%-58s %-7s %5d %6d %6d %7d", $1, $2, registers[key], spills[key], stack[key], shared[key]
        for (i = 1; i <= names; i++) {
            value[name[i]] = $(i + 2)
            if (i <= names - 2) printf " %7d", $(i + 2)
        }
        print ""
        if (spills[key] + 0 > 0) complain(key " spills " spills[key] " bytes")
        else if (stack[key] + value["LDL"] + value["STL"] > 0) complain(key " keeps an array on the stack (" stack[key] " bytes)")
        covered = 0
        for (r = 1; r <= rules; r++) {
            if ($1 !~ rule_kernel[r] || $2 !~ rule_architecture[r]) continue
            covered = 1
            used[r] = 1
            needs = split(rule_needs[r], need, " ")
            for (i = 1; i <= needs; i++) {
                if (need[i] == "-") continue
                # Alternatives have a bar between them.
                found = 0
                alternatives = split(need[i], alternative, "|")
                for (a = 1; a <= alternatives; a++) found += value[alternative[a]]
                if (!found) complain(key " has lost " need[i])
            }
        }
        if (!covered) complain(key ": no line of scripts/sass-expected.txt says what it needs")
        kernels++
    }
    END {
        for (key in registers) if (!(key in seen)) complain(key ": it has no machine code")
        for (r = 1; r <= rules; r++) if (!used[r]) complain("no kernel is " rule_text[r] ", of which scripts/sass-expected.txt speaks")
        printf "%d kernels (with each architecture), %d complaints\n", kernels, failed
        exit failed > 0
    }' "$work/resources" "$work/counts"
