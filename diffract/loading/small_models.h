#pragma once
#include <string_view>

#include "diffract/loading/request_memory.h"

namespace diffract::loading {

/// True where one run of a pipeline's denoiser is so little work that threads lose more in waiting for each
/// other than they gain (docs/performance.md, "Threads and small models"). The answer is the same on every
/// machine.
bool is_too_small_to_share(const RequestNeeds& needs, std::string_view denoiser);

}  // namespace diffract::loading
