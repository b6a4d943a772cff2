#include "diffract/io/safetensors_writer.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/json.h"

namespace diffract::io {
namespace {

uint64_t byte_count(const TensorView& tensor) {
  uint64_t bits = dtype_bits(tensor.dtype);
  for (const uint64_t size : tensor.shape) bits *= size;
  return bits / 8;
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, std::vector<TensorView> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    return std::make_pair(-static_cast<int>(dtype_bits(a.dtype)), a.name) <
           std::make_pair(-static_cast<int>(dtype_bits(b.dtype)), b.name);
  });
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorView& tensor : tensors) {
    if (byte_count(tensor) != tensor.bytes.size() || header.contains(tensor.name))
      throw InternalError("{}: tensor \"{}\" has {} bytes or a name that stands twice; expected {} bytes",
                          file.string(), tensor.name, tensor.bytes.size(), byte_count(tensor));
    header[tensor.name] = {{"dtype", dtype_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();

  AtomicFile out(file);
  out.write(std::as_bytes(std::span(&length, 1)));
  out.write(text);
  for (const TensorView& tensor : tensors) out.write(tensor.bytes);
  out.commit();
}

}  // namespace diffract::io
