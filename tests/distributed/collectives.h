#pragma once
#include "diffract/distributed/group.h"

namespace diffract::test {

/// The one body of all collective tests: every rank of the group calls it, and it throws InternalError where
/// a collective gives something else than it should. It runs over any engine, on the group's own device.
void check_collectives(const distributed::Group& group, at::Device device);

}  // namespace diffract::test
