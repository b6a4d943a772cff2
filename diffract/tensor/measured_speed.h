#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <optional>

namespace diffract::tensor {

/// Billions of operations a second of a matrix product on the CPU: the best of a few tries, within `seconds`.
double matmul_gflops(at::ScalarType dtype, double seconds = 0.5);

/// Bytes a second of a copy in the CPU's memory.
double copy_bytes_per_second();

/// Bytes a second of reading `file` (up to 128 MiB of it) past the page cache; none where it is not there or
/// is too small to tell (4 MiB).
std::optional<double> read_bytes_per_second(const std::filesystem::path& file);

}  // namespace diffract::tensor
