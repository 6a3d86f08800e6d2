# cmake -D compiler=... -D source=... -D root=... -P check.cmake
#
# The source must not compile, for the reason given in its line `// expect: words of the compiler`, and
# must compile with -DCORRECT: so the mistake in it is the only one.
set(command ${compiler} -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I${root} ${source})

execute_process(COMMAND ${command} -DCORRECT RESULT_VARIABLE result ERROR_VARIABLE messages)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the correct form does not compile:\n${messages}")
endif()

file(STRINGS ${source} expected REGEX "^// expect: ")
if(expected STREQUAL "")
  message(FATAL_ERROR "${source} has no line '// expect: words of the compiler'")
endif()
string(REGEX REPLACE "^// expect: " "" expected "${expected}")
set(ENV{LC_ALL} C)
execute_process(COMMAND ${command} RESULT_VARIABLE result ERROR_VARIABLE messages)
if(result EQUAL 0)
  message(FATAL_ERROR "the misuse compiles")
endif()
string(FIND "${messages}" "${expected}" position)
if(position EQUAL -1)
  message(FATAL_ERROR "the compiler does not say '${expected}' but:\n${messages}")
endif()
