# Digests of the sources that a path is made of, as a C++ table for harness/evidence/source.hpp:
#
#   cmake -D root=TREE -D preprocessor=g++ -D flags=FILE -D output=FILE.cpp -P source_digests.cmake
#
# Of every source of gpu/ and reference/: the SHA-256 of its code, which is what the preprocessor of GCC
# leaves without comments (-fpreprocessed: nothing is expanded or included), with every run of blanks
# and line ends as one blank; the SHA-256 of its bytes; the files of the tree that it includes; and for
# what is compiled by itself the flags that its code depends on, which `flags` sets: flags_cuda for every
# .cu, flags_reference for headers of reference/, and "flags_<name>" beside flags_cuda for one file.
#
# The output is left alone where it would not change.
cmake_minimum_required(VERSION 3.25)
include(${flags})

file(GLOB_RECURSE sources RELATIVE ${root} ${root}/gpu/*.cu ${root}/gpu/*.cuh ${root}/gpu/*.hpp
     ${root}/reference/*.hpp)
list(SORT sources)
set(table "")
foreach(source ${sources})
  execute_process(COMMAND ${preprocessor} -w -x c++ -fpreprocessed -dD -E -P ${root}/${source}
                  OUTPUT_VARIABLE code ERROR_VARIABLE errors RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${preprocessor} cannot take the comments out of ${source}: ${errors}")
  endif()
  string(REGEX REPLACE "[ \t\r\n]+" " " code "${code}")
  string(SHA256 code_sha256 "${code}")
  file(SHA256 ${root}/${source} bytes_sha256)

  set(includes "")
  file(STRINGS ${root}/${source} lines REGEX "^[ \t]*#[ \t]*include[ \t]+\"")
  foreach(line ${lines})
    string(REGEX REPLACE ".*\"([^\"]*)\".*" "\\1" included "${line}")
    string(APPEND includes "\"${included}\", ")
  endforeach()

  set(own_flags "")
  if(source MATCHES "\\.cu$")
    string(JOIN " " own_flags ${flags_cuda} ${flags_${source}})
  elseif(source MATCHES "^reference/")
    string(JOIN " " own_flags ${flags_reference})
  endif()
  string(APPEND table "      {\"${source}\",\n       \"${code_sha256}\",\n       \"${bytes_sha256}\",\n"
                      "       \"${own_flags}\",\n       {${includes}}},\n")
endforeach()

file(WRITE ${output}.new "// Made by cmake/source_digests.cmake.
#include \"harness/evidence/source.hpp\"

namespace groundstate::harness {

const std::vector<SourceFile>& source_files() {
  static const std::vector<SourceFile> table{
${table}  };
  return table;
}

}  // namespace groundstate::harness
")
file(COPY_FILE ${output}.new ${output} ONLY_IF_DIFFERENT)
file(REMOVE ${output}.new)
