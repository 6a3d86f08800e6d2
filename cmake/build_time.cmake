# How long a build takes.
#
#   only_drives                               an option for what has no numerics: half of the time of its sources went
#                                             into optimising what runs once
#   groundstate_precompile(target header...)  what nearly all sources of a target include is read once
#   groundstate_unite(target folder...)       the sources of a folder are compiled as one: what they instantiate, most
#                                             of it to read and write JSON, took three quarters of their time
#
# A build with a compiler cache does neither of the last two: it keeps no precompiled headers, and sources apart are
# what it is fast with. So sources keep #include lines of all they use, and in a united folder unnamed namespaces share
# their names.
set(only_drives $<$<CONFIG:Release>:-O1>)

function(groundstate_precompile target)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(${target} PRIVATE <algorithm> <cmath> <filesystem> <fstream> <functional> <map>
                              <memory> <optional> <set> <sstream> <string> <vector> <Eigen/Core> <fmt/format.h>
                              <nlohmann/json.hpp> ${ARGN})
    # In precompiled headers GCC 12 warns of what it takes "a" + std::string for (PR 105651).
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread>)
  endif()
endfunction()

function(groundstate_unite target)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
    foreach(folder ${ARGN})
      file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
      cmake_path(GET folder FILENAME name)
      set_source_files_properties(${sources} PROPERTIES UNITY_GROUP ${name})
    endforeach()
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  endif()
endfunction()
