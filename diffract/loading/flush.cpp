#include "diffract/loading/flush.h"

#include "diffract/tensor/device_backend.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::loading {

void flush_host() {
  weights::release_scratch();
  weights::release_streams();
  tensor::release_host_memory();
}

void flush() {
  flush_host();
  for (auto* backend : tensor::loaded_backends()) backend->empty_cache();
}

}  // namespace diffract::loading
