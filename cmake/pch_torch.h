// Compiled once for the folders that use tensors. ATen's headers only: torch/torch.h costs 10 s more a file.
#pragma once
#include <ATen/ATen.h>

#include "pch_plain.h"
