// Any bytes as a single file whose tensors have the names of a model's authors: a CheckpointError at worst,
// and every part that is found lies in the file and has the bytes of its shape.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/io/weight_files.h"
#include "diffract/models/text/clip_original_names.h"
#include "diffract/models/unet/unet_original_names.h"
#include "diffract/models/vae/vae_original_names.h"

namespace {

using namespace diffract;

struct File {
  int descriptor = ::memfd_create("fuzz", 0);
  ~File() { ::close(descriptor); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor); }
};

void look(const std::string& path, const io::NamedParts& parts) {
  try {
    for (const auto& [name, weight] :
         io::open_weight_files({.files = {path}, .description = path, .parts = parts})) {
      uint64_t elements = 1;
      for (const uint64_t size : weight.shape()) elements *= size;
      const auto bytes = weight.bytes();
      const auto file = weight.file->whole_file();
      const bool is_inside = bytes.empty() || (bytes.data() >= file.data() &&
                                               bytes.data() + bytes.size() <= file.data() + file.size());
      if (name.size() > 10'000'000 || !is_inside || elements != weight.elements() ||
          bytes.size() != weight.size())
        std::abort();
    }
  } catch (const CheckpointError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const File file;
  if (::write(file.descriptor, data, size) != static_cast<ssize_t>(size)) return 0;
  const Json json = {{"layers_per_block", 2}, {"block_out_channels", {8, 8, 8, 8}}, {"num_hidden_layers", 3}};
  const ConfigReader config(json, "config.json");
  look(file.path(), [&](const std::string& name) { return models::unet_original_names(name, config); });
  look(file.path(), [&](const std::string& name) { return models::vae_original_names(name, config); });
  for (const bool has_projection : {true, false})
    look(file.path(),
         [&](const std::string& name) { return models::clip_original_names(name, config, has_projection); });
  return 0;
}
