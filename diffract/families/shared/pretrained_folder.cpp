#include "diffract/families/shared/pretrained_folder.h"

#include "diffract/loading/find_model.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/tensor/threads.h"

namespace diffract::families {

io::ModelFolder pretrained_folder(const std::string& model) {
  tensor::keep_host_memory();
  tensor::take_chosen_threads();
  return io::ModelFolder::open(loading::find_model(model));
}

}  // namespace diffract::families
