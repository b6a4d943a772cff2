# The engine: libtorch_cpu and libc10 of the PyPI wheel, and the fmt 12 headers inside it.
if(NOT EXISTS ${DIFFRACT_DEPS}/torch/include/ATen/ATen.h)
  message(FATAL_ERROR "No libtorch in ${DIFFRACT_DEPS}. Run tools/setup.sh (or make), or set DIFFRACT_DEPS.")
endif()

# fmt alone, so that folders that know no tensors cannot include torch by accident.
set(DIFFRACT_FMT_INCLUDE ${PROJECT_BINARY_DIR}/fmt-only)
file(MAKE_DIRECTORY ${DIFFRACT_FMT_INCLUDE})
file(CREATE_LINK ${DIFFRACT_DEPS}/torch/include/fmt ${DIFFRACT_FMT_INCLUDE}/fmt SYMBOLIC)
add_library(diffract_fmt STATIC ${PROJECT_SOURCE_DIR}/cmake/fmt.cpp)
target_include_directories(diffract_fmt SYSTEM PUBLIC $<BUILD_INTERFACE:${DIFFRACT_FMT_INCLUDE}>)
set_target_properties(diffract_fmt PROPERTIES EXPORT_NAME fmt)

# diffract_import_torch_library(FOLDER names...): libraries of the torch wheel that is unpacked in FOLDER.
function(diffract_import_torch_library folder)
  foreach(name ${ARGN})
    add_library(${name} SHARED IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${folder}/torch/lib/lib${name}.so IMPORTED_NO_SONAME ON)
  endforeach()
endfunction()
diffract_import_torch_library(${DIFFRACT_DEPS} torch_cpu c10)
add_library(diffract_torch INTERFACE)
target_include_directories(diffract_torch SYSTEM INTERFACE $<BUILD_INTERFACE:${DIFFRACT_DEPS}/torch/include>)
# Its OpenMP too: at::parallel_for is a loop of the file that calls it (kernels/group_norm.cpp).
target_link_libraries(diffract_torch INTERFACE $<BUILD_INTERFACE:torch_cpu> $<BUILD_INTERFACE:c10>
  $<BUILD_INTERFACE:${DIFFRACT_DEPS}/torch/lib/libgomp.so.1>)
# libtorch_cpu finds its own neighbours by RUNPATH; these let the linker follow them.
target_link_options(diffract_torch INTERFACE
  -Wl,-rpath,${DIFFRACT_DEPS}/torch/lib -Wl,--disable-new-dtags -Wl,--allow-shlib-undefined)
