# How long a build takes.
#
#   only_drives                               an option for what has no numerics: half of the time of its sources went
#                                             into optimising what runs once
#   groundstate_precompile(target header...)  what nearly all sources of a target include is read once
#
# Sources keep #include lines of all they use: a build with a compiler cache, which keeps no precompiled headers, would
# miss them.
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
