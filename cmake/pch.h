// Compiled once for all folders that use tensors. ATen's headers only: torch/torch.h costs 10 s more a file.
#pragma once
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>
