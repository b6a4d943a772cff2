#pragma once

namespace diffract::test {

/// What all ranks of the world run; they throw InternalError where something is not as it should be.
void check_rank_tensors();
void check_lanes(int count, int in_flight);
/// One rank fails in the middle of a picture.
void fail_in_a_lane(int failing_rank);

}  // namespace diffract::test
