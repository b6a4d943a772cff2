#include "diffract/weights/offload_folder.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "diffract/core/error.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/save_tensors.h"

namespace diffract::weights {
namespace fs = std::filesystem;

OffloadFolder::OffloadFolder(const fs::path& folder) : folder_(folder) {
  std::error_code failure;
  fs::create_directories(folder_, failure);
  if (failure) throw IoError("offload_folder {}: cannot be made: {}", folder_.string(), failure.message());
}

OffloadFolder::~OffloadFolder() {
  std::error_code ignored;
  for (const fs::path& file : files_) fs::remove(file, ignored);
}

void OffloadFolder::take(Part& part, PartReader& reader) {
  if (std::none_of(part.tensors.begin(), part.tensors.end(),
                   [](const PartTensor& t) { return t.is_converted(); }))
    return;
  static std::atomic<int> count = 0;  // two models of a process may have modules of the same name
  const fs::path file = folder_ / fmt::format("{}-{}-{}.safetensors", part.name, ::getpid(), count++);
  const PartMemory memory{at::empty({static_cast<int64_t>(part.bytes)}, at::kByte)};
  reader.load_to_host(part, memory);
  const LoadedTensors tensors = unpack(part, memory);
  save_tensors(file, {tensors.begin(), tensors.end()});
  files_.push_back(file);
  const auto checkpoint = Checkpoint::open({.files = {file}, .description = file.string()});
  for (PartTensor& tensor : part.tensors) {
    tensor.stored = checkpoint->stored(tensor.name, tensor.stored.view.sizes());
    tensor.storage.reset();
  }
}

}  // namespace diffract::weights
