#include "diffract/weights/save_tensors.h"

#include "diffract/core/error.h"
#include "diffract/io/safetensors_writer.h"

namespace diffract::weights {
namespace {

io::Dtype file_dtype(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return io::Dtype::F32;
    case at::kHalf:
      return io::Dtype::F16;
    case at::kBFloat16:
      return io::Dtype::BF16;
    case at::kDouble:
      return io::Dtype::F64;
    case at::kFloat8_e4m3fn:
      return io::Dtype::F8_E4M3;
    case at::kFloat8_e5m2:
      return io::Dtype::F8_E5M2;
    case at::kLong:
      return io::Dtype::I64;
    default:
      throw InternalError("tensors of {} are not saved", c10::toString(dtype));
  }
}

}  // namespace

void save_tensors(const std::filesystem::path& file,
                  const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  std::vector<at::Tensor> kept;  // the views below point into these
  std::vector<io::TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    kept.push_back(tensor.to(at::kCPU).contiguous());
    const at::Tensor& data = kept.back();
    views.push_back({.name = name,
                     .dtype = file_dtype(data.scalar_type()),
                     .shape = {data.sizes().begin(), data.sizes().end()},
                     .bytes = {static_cast<const std::byte*>(data.const_data_ptr()), data.nbytes()}});
  }
  io::write_safetensors(file, views, {});
}

}  // namespace diffract::weights
