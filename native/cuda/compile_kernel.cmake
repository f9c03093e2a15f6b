# Compiles one kernel source to STEM.fatbin and writes STEM.c, which embeds it. Run by the build:
#   cmake -DNVCC=... -DGENCODE=... -DRELATIVE=... -DNAME=... -DSTEM=... -DSTRICT=... -P compile_kernel.cmake
# STEM.log keeps what ptxas says of registers and spills, for scripts/sass-check.sh.
#
# -fmad=false: an fma happens where the source says so, as everywhere in this project.
#
# Paths are relative to native/cuda, because a fatbin keeps them.
set(folder ${CMAKE_CURRENT_LIST_DIR})
set(strict)
if(STRICT)
  set(strict -Werror all-warnings)
endif()
execute_process(
  COMMAND ${NVCC} -fatbin ${GENCODE} -std=c++17 --expt-relaxed-constexpr -O3 -fmad=false ${strict}
          -Xptxas -v -Xfatbin -compress-all -I../include -I.. -I../cpu -I. -MD -MF ${STEM}.d -MT ${STEM}.c -o ${STEM}.fatbin
          ${RELATIVE}
  WORKING_DIRECTORY ${folder}
  OUTPUT_VARIABLE log ERROR_VARIABLE log RESULT_VARIABLE failed)
file(WRITE ${STEM}.log "${log}")
if(failed OR (STRICT AND log MATCHES "warning"))
  message(FATAL_ERROR "nvcc did not compile ${RELATIVE}, or not without a warning:\n${log}")
endif()

# The build looks for what a source includes from a folder of its own.
file(READ ${STEM}.d dependencies)
string(REGEX REPLACE "([ \n])([^ :/\n\\][^ \n]*)" "\\1${folder}/\\2" dependencies "${dependencies}")
file(WRITE ${STEM}.d "${dependencies}")

# The kernels, as ptxas named them, once however many architectures there are.
string(REGEX MATCHALL "Compiling entry function '[^']+'" kernels "${log}")
list(TRANSFORM kernels REPLACE "Compiling entry function '(.*)'" "\\1")
list(REMOVE_DUPLICATES kernels)
list(SORT kernels)
if(NOT kernels)
  message(FATAL_ERROR "${RELATIVE} holds no kernel.")
endif()
list(LENGTH kernels count)
list(TRANSFORM kernels REPLACE "(.+)" "\"\\1\"")
list(JOIN kernels ",\n    " kernel_names)

# 64-bit words, little endian, for which a compiler needs a fraction of the time that it takes over bytes.
file(READ ${STEM}.fatbin hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR bytes "${digits} / 2")
math(EXPR missing "(16 - ${digits} % 16) % 16")
string(REPEAT "0" ${missing} padding)
string(REGEX REPLACE "(..)(..)(..)(..)(..)(..)(..)(..)" "0x\\8\\7\\6\\5\\4\\3\\2\\1,\n" words "${hex}${padding}")

file(WRITE ${STEM}.c
"/* Written by compile_kernel.cmake from native/cuda/${RELATIVE}. */
#include \"cuda/common/images.h\"

static const uint64_t data[] = {
${words}};

static const char *const kernels[] = {
    ${kernel_names},
};

extern const krn_cuda_image krn_cuda_image_${NAME};
const krn_cuda_image krn_cuda_image_${NAME} = {
    .source = \"${RELATIVE}\",
    .data = data,
    .bytes = ${bytes},
    .kernels = kernels,
    .kernel_count = ${count},
};
")
