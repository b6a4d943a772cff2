#pragma once
#include "diffract/schedulers/schedule.h"

namespace diffract::schedulers {

// One maker a class, each in the file of its algorithm.
using MakeSchedule = std::unique_ptr<Schedule>(const ConfigReader& config, const ScheduleRequest& request);

MakeSchedule make_ddim;
MakeSchedule make_ddpm;
MakeSchedule make_deis_multistep;
MakeSchedule make_dpm_solver_multistep;
MakeSchedule make_dpm_solver_singlestep;
MakeSchedule make_edm_dpm_solver_multistep;
MakeSchedule make_edm_euler;
MakeSchedule make_euler_ancestral_discrete;
MakeSchedule make_euler_discrete;
MakeSchedule make_flow_match_euler_discrete;
MakeSchedule make_heun_discrete;
MakeSchedule make_ipndm;
MakeSchedule make_kdpm2_ancestral_discrete;
MakeSchedule make_kdpm2_discrete;
MakeSchedule make_lcm;
MakeSchedule make_lms_discrete;
MakeSchedule make_pndm;
MakeSchedule make_sa_solver;
MakeSchedule make_tcd;
MakeSchedule make_unipc_multistep;

}  // namespace diffract::schedulers
