# What `cmake --install` puts down: the program, and base, model, runtime and telemetry as a library
# for find_package(wscope), which gives wscope::base, wscope::model, wscope::runtime and
# wscope::telemetry. Headers go to include/wscope, the include folder of these targets, so that
# `#include "telemetry/..."` reads the same outside as inside and nobody else's "base/" is hidden;
# archives go to lib/wscope for the same reason.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(library base model runtime telemetry)
foreach(name IN LISTS library)
  target_compile_features(${name} PUBLIC cxx_std_23)
endforeach()

install(TARGETS ${library} EXPORT wscope
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/wscope COMPONENT library
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/wscope COMPONENT library)
install(EXPORT wscope FILE wscopeTargets.cmake NAMESPACE wscope::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wscope COMPONENT library)

# Packages behind the imported targets that the four link ("fmt::fmt" comes from fmt). Static
# archives need them at the consumer's link even where they are linked privately here.
set(packages "")
foreach(name IN LISTS library)
  get_target_property(links ${name} LINK_LIBRARIES)
  foreach(link IN LISTS links)
    if(link MATCHES "^([A-Za-z0-9_]+)::" AND NOT CMAKE_MATCH_1 STREQUAL "wscope")
      list(APPEND packages ${CMAKE_MATCH_1})
    endif()
  endforeach()
endforeach()
list(REMOVE_DUPLICATES packages)
list(TRANSFORM packages REPLACE "(.+)" "find_dependency(\\1)\n")
list(JOIN packages "" dependencies)

set(config_folder ${PROJECT_BINARY_DIR}/install)
file(WRITE ${config_folder}/wscopeConfig.cmake.in "@PACKAGE_INIT@
include(CMakeFindDependencyMacro)
${dependencies}include(\${CMAKE_CURRENT_LIST_DIR}/wscopeTargets.cmake)
check_required_components(wscope)
")
configure_package_config_file(${config_folder}/wscopeConfig.cmake.in
  ${config_folder}/wscopeConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wscope)
# Before 1.0 a minor version may change the library's interface.
write_basic_package_version_file(${config_folder}/wscopeConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${config_folder}/wscopeConfig.cmake ${config_folder}/wscopeConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wscope COMPONENT library)

if(TARGET wscope)
  install(TARGETS wscope RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
endif()
