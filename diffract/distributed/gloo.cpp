// The only file that includes Gloo's headers. The wheel has c10d's but not Gloo's; Debian's are older than
// the Gloo inside libtorch, so nothing of Gloo is touched here: a device is made by c10d and handed on as it
// is.
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "diffract/distributed/backend.h"

namespace diffract::distributed {

c10::intrusive_ptr<::c10d::Backend> make_gloo(const BackendArguments& arguments) {
  using ::c10d::ProcessGroupGloo;
  auto options = ProcessGroupGloo::Options::create(arguments.timeout);
  options->devices.push_back(ProcessGroupGloo::createDeviceForHostname(arguments.address));
  return c10::make_intrusive<ProcessGroupGloo>(arguments.store, arguments.rank, arguments.size,
                                               std::move(options));
}

}  // namespace diffract::distributed
