#include "diffract/families/shared/pretrained_folder.h"

#include "diffract/families/open_checkpoint.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/tensor/threads.h"

namespace diffract::families {

io::ModelFolder pretrained_folder(const std::string& model, const loading::LoadOptions& options) {
  tensor::keep_host_memory();
  tensor::take_chosen_threads();
  return open_checkpoint(model, options);
}

}  // namespace diffract::families
