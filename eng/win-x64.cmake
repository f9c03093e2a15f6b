# Cross-compiles for 64-bit Windows with MinGW-w64; tests run under wine.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR AMD64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc)
# Only tests need it.
find_program(KRN_WINE NAMES wine64 wine)
if(KRN_WINE)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${KRN_WINE})
endif()
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
