#include "diffract/distributed/tensor_message.h"

#include <cstring>
#include <vector>

#include "diffract/core/error.h"

namespace diffract::distributed {
namespace {

using at::Tensor;
constexpr int64_t kHeaderBytes = 64;  // keeps the values aligned
constexpr size_t kMostDimensions = kHeaderBytes / sizeof(int64_t);

}  // namespace

int64_t message_bytes(const Tensor& x) {
  return kHeaderBytes + x.numel() * static_cast<int64_t>(c10::elementSize(x.scalar_type()));
}

Tensor message_of(const Tensor& value) {
  Tensor host = value.to(at::kCPU);
  if (!host.is_non_overlapping_and_dense()) host = host.contiguous();
  if (host.sizes().size() > kMostDimensions)
    throw InternalError("a tensor of {} dimensions is to be sent; {} are the most", host.dim(),
                        kMostDimensions);
  Tensor message = at::empty({message_bytes(host)}, at::kByte);
  auto* bytes = message.mutable_data_ptr<uint8_t>();
  std::memset(bytes, 0, kHeaderBytes);
  std::memcpy(bytes, host.strides().data(), host.strides().size() * sizeof(int64_t));
  if (host.nbytes() > 0) std::memcpy(bytes + kHeaderBytes, host.const_data_ptr(), host.nbytes());
  return message;
}

Tensor value_in(const Tensor& message, const Tensor& like) {
  std::vector<int64_t> strides(static_cast<size_t>(like.dim()));
  std::memcpy(strides.data(), message.const_data_ptr(), strides.size() * sizeof(int64_t));
  const auto element_bytes = static_cast<int64_t>(c10::elementSize(like.scalar_type()));
  return message.view(like.scalar_type()).as_strided(like.sizes(), strides, kHeaderBytes / element_bytes);
}

}  // namespace diffract::distributed
