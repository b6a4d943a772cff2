# Warnings, sanitizers, ccache and a fast linker; one place for all targets.
add_library(diffract_options INTERFACE)
target_compile_options(diffract_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers)
if(DIFFRACT_WERROR)
  target_compile_options(diffract_options INTERFACE -Werror)
endif()
target_include_directories(diffract_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)

# The same for libraries and programs, or they could not share a precompiled header.
add_compile_options(-fPIC)
# The heavy arithmetic is libtorch's; -O3 would cost compile time and gain nothing here.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

if(DIFFRACT_SANITIZE)
  # vptr needs type information that the torch wheel does not export.
  add_compile_options(-fsanitize=${DIFFRACT_SANITIZE} -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DIFFRACT_SANITIZE})
endif()
if(DIFFRACT_FUZZ_ONLY)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # ccache sees through the precompiled header only with these two settings (its manual, "Precompiled headers").
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endif()
find_program(MOLD mold)
if(MOLD AND NOT DIFFRACT_FUZZ_ONLY)
  add_link_options(-fuse-ld=mold)
endif()
