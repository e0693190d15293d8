# SPDX-License-Identifier: Apache-2.0
# What is installed, and how others find it. Everything finds everything else by relative paths,
# so that an installed tree may be moved.
include(CMakePackageConfigHelpers)

# All targets of a type below a folder.
function(accel_targets_under folder type result)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(target_type ${target} TYPE)
    if(target_type STREQUAL type)
      list(APPEND found ${target})
    endif()
  endforeach()
  get_property(subfolders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder ${subfolders})
    accel_targets_under(${subfolder} ${type} more)
    list(APPEND found ${more})
  endforeach()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

install(TARGETS accel EXPORT accelTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    COMPONENT runtime NAMELINK_COMPONENT development
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/accel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT development FILES_MATCHING PATTERN "*.h")
install(DIRECTORY adapters/torch/include/accel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT development FILES_MATCHING PATTERN "*.hpp")

# The tool, with the library where it will lie beside it.
accel_targets_under(${PROJECT_SOURCE_DIR}/tools EXECUTABLE tools)
if(TARGET accel-report)
  list(REMOVE_ITEM tools accel-report)
  install(TARGETS accel-report RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/accel
    COMPONENT runtime)
endif()
if(tools)
  file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(${tools} PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS ${tools} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
endif()
file(GLOB man_pages CONFIGURE_DEPENDS man/*.1)
install(FILES ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT runtime)
install(FILES man/accel.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT development)

# The library looks for plugins in accel/ beside itself.
if(ACCEL_BUILD_PLUGINS)
  accel_targets_under(${PROJECT_SOURCE_DIR}/plugins MODULE_LIBRARY plugins)
  if(plugins)
    install(TARGETS ${plugins} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/accel
      COMPONENT runtime)
  endif()
endif()

# find_package(accel), target accel::accel; and COMPONENTS torch, target accel::torch
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/accel)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/accelConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(EXPORT accelTargets NAMESPACE accel:: DESTINATION ${package_dir} COMPONENT development)
if(ACCEL_LIBTORCH_INSTALLED)
  set(torch accel_torch_${ACCEL_LIBTORCH_INSTALLED})
  set_target_properties(${torch} PROPERTIES EXPORT_NAME torch)
  install(TARGETS ${torch} EXPORT accelTorchTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    COMPONENT runtime NAMELINK_COMPONENT development)
  install(EXPORT accelTorchTargets NAMESPACE accel:: DESTINATION ${package_dir}
    COMPONENT development)
  message(STATUS "libaccel_torch is installed for libtorch ${ACCEL_LIBTORCH_INSTALLED}")
endif()
install(FILES cmake/accelConfig.cmake ${PROJECT_BINARY_DIR}/accelConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT development)

# pkg-config: its prefix is said relative to the file itself, not as the prefix of configuration.
file(RELATIVE_PATH pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX}/)
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
file(RELATIVE_PATH prefix_to_include ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
set(pc_files accel)
if(ACCEL_LIBTORCH_INSTALLED)
  list(APPEND pc_files accel-torch)
endif()
foreach(name ${pc_files})
  configure_file(cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    COMPONENT development)
endforeach()
