# cmake --install: the program, the libraries, the headers, the models that ship, and find_package(diffract).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
get_property(folders GLOBAL PROPERTY DIFFRACT_FOLDERS)
list(REMOVE_ITEM folders diffract_cli)  # the program's own, not for others to link
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/diffract)

install(TARGETS diffract RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(DIFFRACT_CUDA)
  install(TARGETS diffract_cuda LIBRARY DESTINATION lib/diffract)  # where the program looks for it
endif()
install(TARGETS ${folders} diffract_torch diffract_fmt EXPORT diffract-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT diffract-targets NAMESPACE diffract:: DESTINATION ${package_dir})
install(DIRECTORY diffract DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/diffract/models)
install(FILES LICENSE NOTICE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(cmake/diffract-config.cmake.in ${PROJECT_BINARY_DIR}/diffract-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/diffract-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/diffract-config.cmake ${PROJECT_BINARY_DIR}/diffract-config-version.cmake
  DESTINATION ${package_dir})
