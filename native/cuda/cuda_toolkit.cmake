# Finds nvcc and compiles kernels to fatbins that are part of a C library.
#
# nvcc is looked for in KRN_NVCC (a CMake variable or of the environment), on the PATH, and in CUDA_HOME. Without one of
# version 12.0 or newer the library is built all the same, and holds no kernels for devices.

set(KRN_CUDA_DEVICE_CODE ON CACHE BOOL "Compile the kernels for CUDA devices, where nvcc is at hand")
set(KRN_NVCC "" CACHE FILEPATH "The CUDA compiler; empty to look for it")
set(krn_nvcc_oldest 12.0) # the first that knows wgmma and bulk tensor copies

function(krn_find_nvcc result)
  set(${result} "" PARENT_SCOPE)
  if(NOT KRN_CUDA_DEVICE_CODE)
    message(STATUS "CUDA: kernels are not compiled for devices: KRN_CUDA_DEVICE_CODE is off")
    return()
  endif()
  # What was found is kept, so that a build reconfigured from another shell stays what it was.
  if(NOT KRN_NVCC AND DEFINED ENV{KRN_NVCC})
    set(KRN_NVCC "$ENV{KRN_NVCC}" CACHE FILEPATH "" FORCE)
  endif()
  find_program(KRN_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin")
  set(nvcc "${KRN_NVCC}")
  if(NOT nvcc)
    message(STATUS "CUDA: kernels are not compiled for devices: there is no nvcc (KRN_NVCC, PATH, CUDA_HOME); "
                   "scripts/cuda-toolkit.sh lays one out")
    return()
  endif()
  execute_process(COMMAND "${nvcc}" --version OUTPUT_VARIABLE text ERROR_VARIABLE text RESULT_VARIABLE failed)
  if(failed OR NOT text MATCHES "V([0-9]+\\.[0-9]+\\.[0-9]+)")
    message(STATUS "CUDA: kernels are not compiled for devices: ${nvcc} does not tell its version")
    return()
  endif()
  set(version "${CMAKE_MATCH_1}")
  if(version VERSION_LESS krn_nvcc_oldest)
    message(STATUS "CUDA: kernels are not compiled for devices: ${nvcc} is ${version}, older than ${krn_nvcc_oldest}")
    return()
  endif()
  message(STATUS "CUDA: kernels are compiled for devices by ${nvcc} ${version}")
  set(${result} "${nvcc}" PARENT_SCOPE)
  set(${result}_version "${version}" PARENT_SCOPE)
endfunction()

# The architectures of a kernel's source file are the suffix of its name, as instruction sets are on the CPU.
function(krn_cuda_gencode result source)
  if(source MATCHES "_sm90a\\.cu$")
    set(${result} -gencode=arch=compute_90a,code=sm_90a PARENT_SCOPE)
  else()
    # One pass of the front end serves all three: none has an instruction here that the first lacks.
    set(${result} "-gencode=arch=compute_80,code=[sm_80,sm_86,sm_89]" -gencode=arch=compute_90a,code=sm_90a PARENT_SCOPE)
  endif()
endfunction()

# krn_cuda_embed(RESULT KERNELS...): RESULT is set to C files that hold the kernels' fatbins and the table of them.
function(krn_cuda_embed result)
  krn_find_nvcc(nvcc)
  set(outputs)
  set(names)
  if(nvcc)
    foreach(source IN LISTS ARGN)
      file(RELATIVE_PATH relative ${CMAKE_CURRENT_SOURCE_DIR} ${source})
      string(REGEX REPLACE "[^A-Za-z0-9]" "_" name "${relative}")
      string(REGEX REPLACE "_cu$" "" name "${name}")
      set(stem ${CMAKE_CURRENT_BINARY_DIR}/fatbins/${name})
      krn_cuda_gencode(gencode ${source})
      add_custom_command(
        OUTPUT ${stem}.c
        BYPRODUCTS ${stem}.fatbin ${stem}.log
        COMMAND ${CMAKE_COMMAND} -DNVCC=${nvcc} "-DGENCODE=${gencode}" -DRELATIVE=${relative} -DNAME=${name}
                -DSTEM=${stem} -DSTRICT=${KRN_WARNINGS_ARE_ERRORS} -P ${CMAKE_CURRENT_SOURCE_DIR}/compile_kernel.cmake
        DEPENDS ${source} ${CMAKE_CURRENT_SOURCE_DIR}/compile_kernel.cmake
        DEPFILE ${stem}.d
        COMMENT "nvcc ${relative}"
        VERBATIM)
      list(APPEND outputs ${stem}.c)
      list(APPEND names ${name})
    endforeach()
  endif()

  set(declarations "")
  set(entries "")
  foreach(name IN LISTS names)
    string(APPEND declarations "extern const krn_cuda_image krn_cuda_image_${name};\n")
    string(APPEND entries "    &krn_cuda_image_${name},\n")
  endforeach()
  list(LENGTH names count)
  set_property(GLOBAL PROPERTY KRN_CUDA_IMAGES ${count})
  if(names)
    set(toolkit "nvcc ${nvcc_version} sm_80 sm_86 sm_89 sm_90a")
  else()
    set(toolkit "no kernels for devices")
  endif()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/images.c @ONLY CONTENT
"/* Written by cuda_toolkit.cmake: the kernels that this library holds. */
#include \"cuda/common/images.h\"

#include <stddef.h>

@declarations@
const krn_cuda_image *const krn_cuda_images[] = {
@entries@    NULL,
};

const int32_t krn_cuda_image_count = @count@;

const char krn_cuda_toolkit[] = \"@toolkit@\";
")
  set(${result} ${outputs} ${CMAKE_CURRENT_BINARY_DIR}/images.c PARENT_SCOPE)
endfunction()
