# What libdiffract_cuda is built with: nvcc 13 and the CUDA half of the same torch wheel (make setup-cuda).
enable_language(CUDA)
# CMake 3.25 does not know that nvcc 12 and later speak C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
set(DIFFRACT_CUDA_ARCHITECTURES 90 CACHE STRING "GPUs to build kernels for, as CMAKE_CUDA_ARCHITECTURES")
set(DIFFRACT_CUDA_DEPS "$ENV{DIFFRACT_CUDA_DEPS}" CACHE PATH "Folder with torch/lib/libtorch_cuda.so")
if(NOT DIFFRACT_CUDA_DEPS)
  set(DIFFRACT_CUDA_DEPS ${DIFFRACT_DEPS})
endif()
if(NOT EXISTS ${DIFFRACT_CUDA_DEPS}/torch/lib/libtorch_cuda.so)
  message(FATAL_ERROR "No libtorch_cuda.so in ${DIFFRACT_CUDA_DEPS}. Run make setup-cuda, or set DIFFRACT_CUDA_DEPS.")
endif()
if(NOT EXISTS ${DIFFRACT_CUDA_DEPS}/nvidia/nccl/include/nccl.h)
  message(FATAL_ERROR "No nvidia/nccl/include/nccl.h in ${DIFFRACT_CUDA_DEPS}. Run make setup-cuda again.")
endif()
find_package(CUDAToolkit 13.0 REQUIRED)

diffract_import_torch_library(${DIFFRACT_CUDA_DEPS} torch_cuda c10_cuda)
add_library(diffract_torch_cuda INTERFACE)
# --no-as-needed: libtorch_cuda registers its operators when it is loaded; no symbol of it may be used.
target_link_libraries(diffract_torch_cuda INTERFACE diffract_torch -Wl,--no-as-needed torch_cuda c10_cuda
  -Wl,--as-needed CUDA::cudart CUDA::cublasLt)
target_include_directories(diffract_torch_cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
# The libraries are found beside libtorch_cuda in an unpacked wheel, as libtorch_cuda itself finds them.
target_link_options(diffract_torch_cuda INTERFACE
  -Wl,-rpath,${DIFFRACT_CUDA_DEPS}/torch/lib -Wl,-rpath,${DIFFRACT_CUDA_DEPS}/nvidia/cu13/lib)
