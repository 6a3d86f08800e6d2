# What `cmake --install` puts under a prefix, in two components:
#
#   development   the headers of reference/, the CMake package (groundstateConfig.cmake.in says how it is
#                 used), the licence; nothing of it has to be built
#   program       bin/groundstate (CMakeLists.txt)
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/groundstate)
# For whoever installs; the tree itself sets the standard for all its files.
target_compile_features(groundstate_core INTERFACE $<INSTALL_INTERFACE:cxx_std_20>)

install(DIRECTORY reference DESTINATION include/groundstate COMPONENT development
        FILES_MATCHING PATTERN "*.hpp")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/groundstate COMPONENT development)
# A file each, so that the core can be had without what the reference needs.
foreach(name core reference)
  set_target_properties(groundstate_${name} PROPERTIES EXPORT_NAME ${name})
  install(TARGETS groundstate_${name} EXPORT groundstate-${name})
  install(EXPORT groundstate-${name} NAMESPACE groundstate:: DESTINATION ${package_folder}
          COMPONENT development)
endforeach()

configure_package_config_file(cmake/groundstateConfig.cmake.in groundstateConfig.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(groundstateConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/groundstateConfig.cmake
        ${PROJECT_BINARY_DIR}/groundstateConfigVersion.cmake
        DESTINATION ${package_folder} COMPONENT development)
