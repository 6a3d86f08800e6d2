# cmake -D build=... -D generator=... -D compiler=... -P check.cmake
#
# Installs the development files of `build`, moves them (a package must not know where it was installed),
# then configures, builds and runs the project beside this file against them, with Eigen and without.
set(work ${build}/consumer)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(NOTICE "${output}")
    message(FATAL_ERROR "${command}: ${result}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${build} --prefix ${work}/installed --component development)
file(RENAME ${work}/installed ${work}/moved)
# Nothing but the prefix may be found: not the build folder, by the user's package registry or otherwise.
set(find -D CMAKE_PREFIX_PATH=${work}/moved -D CMAKE_FIND_USE_PACKAGE_REGISTRY=OFF)

foreach(without_eigen OFF ON)
  set(folder ${work}/without_eigen_${without_eigen})
  run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${folder} -G ${generator} ${find}
      -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_BUILD_TYPE=Release -D WITHOUT_EIGEN=${without_eigen})
  run(${CMAKE_COMMAND} --build ${folder})
  run(${folder}/consumer)
endforeach()

# Asked for what it is not, the package says no.
foreach(request "0.2;REQUIRED" "0.1;REQUIRED;COMPONENTS;harness")
  list(JOIN request " " arguments)
  file(WRITE ${work}/refused/CMakeLists.txt "cmake_minimum_required(VERSION 3.25)\n"
       "project(refused LANGUAGES CXX)\nfind_package(groundstate ${arguments})\n")
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${work}/refused -B ${work}/refused/build -G ${generator}
                  ${find} -D CMAKE_CXX_COMPILER=${compiler}
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(result EQUAL 0 OR NOT output MATCHES "groundstate")
    message(FATAL_ERROR "find_package(groundstate ${arguments}) is not refused:\n${output}")
  endif()
  file(REMOVE_RECURSE ${work}/refused)
endforeach()
