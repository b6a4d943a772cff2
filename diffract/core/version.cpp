#include "diffract/core/version.h"

namespace diffract {

const char* const kVersion = DIFFRACT_VERSION;

}  // namespace diffract
