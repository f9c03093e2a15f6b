# Fails where a source spells out a compiler's extension outside common/portability.h: cmake -DROOT=... -P. What the
# language itself forbids, -Wpedantic finds; these are the names that a compiler lends, and -Wpedantic lets pass.
set(lent "__attribute__|__builtin_|__asm|__extension__|__typeof|__thread[^_a-z]|__int128|__has_|__declspec|__forceinline|__inline|__restrict|[^a-z_]asm[ \t]*[(]|[^a-z_]typeof[ \t]*[(]|#[ \t]*pragma|_Pragma|_MSC_VER|__GNUC__|__clang__")
# Public headers stand alone, so that they say themselves how a function is exported, and so do libraries that tests make.
# A processor's own feature macros, such as __ARM_FEATURE_DOTPROD, and operating systems are no compiler's.
set(allowed "native/cpu/common/portability\\.h$|native/include/kernels/(common|cuda)\\.h$|/fake_export\\.h$")

function(check_line line result)
  if(" ${line}" MATCHES "${lent}")
    set(${result} TRUE PARENT_SCOPE)
  else()
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

# The check has to notice what it is for.
foreach(planted "static __attribute__((noinline)) int f(void);" "    __asm__(\"nop\");" "int x = __builtin_clz(7);" "typeof (x) y;"
                "static __thread int z;" "#pragma GCC unroll 4")
  check_line("${planted}" found)
  if(NOT found)
    message(FATAL_ERROR "the check passes over: ${planted}")
  endif()
endforeach()

file(GLOB_RECURSE sources ${ROOT}/native/cpu/*.[ch] ${ROOT}/native/include/*.h ${ROOT}/tests/native/*.[ch])
list(FILTER sources EXCLUDE REGEX "${allowed}")
set(bad "")
foreach(source IN LISTS sources)
  file(STRINGS ${source} lines REGEX "${lent}|^(asm|typeof|__thread)")
  foreach(line IN LISTS lines)
    check_line("${line}" found)
    # Comments may name what they explain.
    if(found AND NOT line MATCHES "^ *(/?[*]|//)")
      file(RELATIVE_PATH name ${ROOT} ${source})
      string(APPEND bad "\n  ${name}: ${line}")
    endif()
  endforeach()
endforeach()
if(bad)
  message(FATAL_ERROR "extensions of a compiler belong in native/cpu/common/portability.h:${bad}")
endif()
list(LENGTH sources count)
message(STATUS "${count} sources are free of compilers' extensions")
