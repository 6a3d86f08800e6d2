# source_files.cpp: the digests of all sources of gpu/ and reference/, built into the program, by which it
# knows whether evidence from a GPU is STALE (harness/evidence/source.hpp, cmake/source_digests.cmake).
#
# Flags are those that the code of a kernel depends on, whatever this build is like: neither nvcc nor its
# build type plays a part. CMake runs the step when a source or a flag changes, and compiles its table
# only when that changes.
set(digest_flags ${PROJECT_BINARY_DIR}/source_flags.cmake)
string(JOIN " " text -std=c++20 -arch=sm_${gpu_architecture} ${gpu_flags} ${CMAKE_CUDA_FLAGS})
set(flags "set(flags_cuda ${text})\n")
string(JOIN " " text -std=c++20 ${reference_flags} ${CMAKE_CXX_FLAGS})
string(APPEND flags "set(flags_reference ${text})\n")
file(GLOB_RECURSE kernels CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} gpu/*.cu)
foreach(kernel ${kernels})
  get_source_file_property(own ${kernel} COMPILE_OPTIONS)
  if(own)
    string(JOIN " " text ${own})
    string(APPEND flags "set(flags_${kernel} ${text})\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT ${digest_flags} CONTENT "${flags}" @ONLY)  # left alone where nothing changes

# Clang and others cannot take comments out of a file without expanding it.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(digest_preprocessor ${CMAKE_CXX_COMPILER})
else()
  find_program(digest_preprocessor g++ REQUIRED)
endif()
file(GLOB_RECURSE digested CONFIGURE_DEPENDS gpu/*.cu gpu/*.cuh gpu/*.hpp reference/*.hpp)
add_custom_command(
  OUTPUT ${PROJECT_BINARY_DIR}/source_files.cpp
  COMMAND ${CMAKE_COMMAND} -D root=${PROJECT_SOURCE_DIR} -D preprocessor=${digest_preprocessor}
          -D flags=${digest_flags} -D output=${PROJECT_BINARY_DIR}/source_files.cpp
          -P ${PROJECT_SOURCE_DIR}/cmake/source_digests.cmake
  DEPENDS ${digested} ${digest_flags} ${PROJECT_SOURCE_DIR}/cmake/source_digests.cmake
  COMMENT "Digests of the sources of gpu/ and reference/"
  VERBATIM)
