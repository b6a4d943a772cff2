#include "diffract/io/stored_weight.h"

#include <fmt/ranges.h>

#include "diffract/core/error.h"

namespace diffract::io {

void StoredWeight::check() const {
  const auto refuse = [this](const std::string& expected) {
    throw CheckpointError("{}: tensor \"{}\": has shape [{}]; expected {}", file->path().string(), info->name,
                          fmt::join(info->shape, ", "), expected);
  };
  // Of bytes that elements share, no row begins at one.
  const bool is_divided = part.shares > 1;
  if (is_divided && (info->shape.empty() || info->shape[0] % part.shares != 0 || dtype_bits(info->dtype) < 8))
    refuse(fmt::format("rows in {} equal shares", part.shares));
  if (part.is_transposed && info->shape.size() != 2) refuse("a matrix");
}

std::vector<uint64_t> StoredWeight::shape() const {
  std::vector<uint64_t> shape = info->shape;
  if (part.shares > 1) shape[0] /= part.shares;
  if (part.is_pointwise)
    while (shape.size() > 2 && shape.back() == 1) shape.pop_back();
  return shape;
}

}  // namespace diffract::io
