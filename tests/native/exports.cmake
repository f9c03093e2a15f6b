# Compares the symbols that the shared library exports with exports.golden, one name a line, sorted: the surface of the ABI
# changes only on purpose. Run by ctest: cmake -DNM=... -DLIBRARY=... -DGOLDEN=... -P exports.cmake
# With -DUPDATE=ON it writes the golden file instead.

if(APPLE)
  set(nm_options -gU)
else()
  set(nm_options -D --defined-only)
endif()
execute_process(COMMAND ${NM} ${nm_options} ${LIBRARY} OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)

# A line of nm: address, one letter for the kind, name (with a leading underscore on macOS).
string(REGEX MATCHALL "[0-9a-f]+ [A-Za-z] [^\n]+" lines "${listing}")
list(TRANSFORM lines REPLACE "^[0-9a-f]+ [A-Za-z] " "")
if(APPLE)
  list(TRANSFORM lines REPLACE "^_" "")
endif()
list(SORT lines)

if(UPDATE)
  list(JOIN lines "\n" text)
  file(WRITE ${GOLDEN} "${text}\n")
  return()
endif()

file(STRINGS ${GOLDEN} expected)
set(added ${lines})
list(REMOVE_ITEM added ${expected})
set(removed ${expected})
list(REMOVE_ITEM removed ${lines})
if(added OR removed)
  message(FATAL_ERROR "The exports differ from ${GOLDEN}. Added: ${added}. Removed: ${removed}. "
                      "If that is meant, run: cmake --build --preset release --target update-exports")
endif()
