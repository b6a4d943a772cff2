# The lint target: clang-format on every source, clang-tidy on those that changed (tools/tidy.py); lint-all: on all of diffract/.
find_program(CLANG_FORMAT clang-format)
find_program(CLANG_TIDY clang-tidy)
file(GLOB_RECURSE lint_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/diffract/*.h ${PROJECT_SOURCE_DIR}/diffract/*.cpp
  ${PROJECT_SOURCE_DIR}/tests/*.h ${PROJECT_SOURCE_DIR}/tests/*.cpp ${PROJECT_SOURCE_DIR}/bench/*.cpp
  ${PROJECT_SOURCE_DIR}/examples/*.cpp)
add_custom_target(format-check COMMAND ${CLANG_FORMAT} --dry-run -Werror ${lint_files} COMMENT "clang-format" VERBATIM)
add_custom_target(format COMMAND ${CLANG_FORMAT} -i ${lint_files} VERBATIM)
add_custom_target(tidy COMMAND ${PROJECT_SOURCE_DIR}/tools/tidy.py ${CLANG_TIDY} ${PROJECT_BINARY_DIR}
  COMMENT "clang-tidy" VERBATIM USES_TERMINAL)
add_custom_target(tidy-all COMMAND ${PROJECT_SOURCE_DIR}/tools/tidy.py ${CLANG_TIDY} ${PROJECT_BINARY_DIR} --all
  COMMENT "clang-tidy" VERBATIM USES_TERMINAL)
# clang-tidy reads the precompiled headers that clang made, which saves it half of its time on a file.
add_dependencies(tidy diffract_pch_torch diffract_pch_plain)
add_dependencies(tidy-all diffract_pch_torch diffract_pch_plain)
add_custom_target(lint DEPENDS format-check tidy)
add_custom_target(lint-all DEPENDS format-check tidy-all)
