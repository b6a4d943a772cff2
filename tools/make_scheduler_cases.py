#!/usr/bin/env python3
"""Writes tests/data/schedulers/cases.jsonl: what diffusers' schedulers do, step by step, over a grid of configs.

    python3 -m venv ref && ref/bin/pip install torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 scipy
    ref/bin/python tools/make_scheduler_cases.py tests/data/schedulers/cases.jsonl

Each line: the class, its config, the number of steps and eta, and set_timesteps' other arguments; then the timesteps,
init_noise_sigma, and the sample after each step. The model is a stand-in that any language can compute:
0.3 * input + 0.1 * sin(timestep / 100), and with "learned" a second half of the channels, 0.1 + 0.05 * sin(input). The first
sample is init_noise_sigma times seeded noise; noise that a step draws comes from the same generators, one an image.
"""
import json
import math
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import diffusers
import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

diffusers.utils.logging.set_verbosity_error()
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SHAPE, SEED = (2, 2, 3, 3), 42
LEARNED_SHAPE = (2, 3, 3, 3)  # DPM-Solver takes the first three channels for the prediction, whatever the sample has


def grid():
    def add(name, steps, eta=0.0, **config):
        return (name + "Scheduler", config, steps, eta)

    spacings = ["leading", "linspace", "trailing"]
    for spacing in spacings:
        for steps in (1, 2, 3, 10, 25):
            yield add("PNDM", steps, **SD, skip_prk_steps=True, steps_offset=1, timestep_spacing=spacing)
            yield add("DDIM", steps, **SD, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing=spacing)
            for name in ("EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep"):
                yield add(name, steps, **SD, steps_offset=1, timestep_spacing=spacing)
    for prediction in ("v_prediction", "sample"):
        for name in ("DDIM", "EulerDiscrete", "LMSDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep", "PNDM", "EulerAncestralDiscrete"):
            if prediction == "sample" and name in ("PNDM", "EulerAncestralDiscrete"):
                continue
            extra = dict(skip_prk_steps=True) if name == "PNDM" else {}
            yield add(name, 6, **SD, prediction_type=prediction, **extra)
    for name in ("EulerDiscrete", "LMSDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep"):
        for kind in ("karras", "exponential", "beta"):
            for steps in (2, 7, 20):
                yield add(name, steps, **SD, **{f"use_{kind}_sigmas": True}, timestep_spacing="leading", steps_offset=1)
        yield add(name, 5)  # the class's own defaults
        if name != "HeunDiscrete":  # its second-order step divides the rounding of samples of thousands by a sigma of 0.006
            yield add(name, 5, beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True)
        yield add(name, 4, trained_betas=[round(0.0001 + i * 0.0199 / 99, 8) for i in range(100)], num_train_timesteps=100)
    for steps in (4, 5, 10, 25):
        yield add("PNDM", steps, **SD, skip_prk_steps=False)
        yield add("PNDM", steps, **SD, skip_prk_steps=False, set_alpha_to_one=True, timestep_spacing="linspace")
    yield add("PNDM", 4, skip_prk_steps=False, timestep_spacing="trailing", prediction_type="v_prediction")
    for eta in (0.3, 1.0):
        yield add("DDIM", 6, eta, **SD, clip_sample=False)
        yield add("DDIM", 6, eta, **SD, clip_sample=True, clip_sample_range=1.5)
    yield add("DDIM", 6)
    yield add("DDIM", 6, **SD, thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=2.0)
    yield add("DDIM", 6, **SD, rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False)
    yield add("DDIM", 6, beta_schedule="squaredcos_cap_v2")
    for steps in (48, 144):  # where the rounding of numpy's arange decides
        yield add("EulerDiscrete", steps, **SD, timestep_spacing="trailing")
    yield add("DPMSolverMultistep", 5, **SD, timestep_spacing="trailing", lambda_min_clipped=-1.0)
    for name in ("DPMSolverMultistep", "HeunDiscrete", "LMSDiscrete"):  # keys of another class that are read all the same
        for kind in ("karras", "exponential"):
            yield add(name, 5, **SD, **{f"use_{kind}_sigmas": True}, sigma_min=0.1, sigma_max=10.0)
    yield add("EulerDiscrete", 5, **SD, interpolation_type="log_linear", use_karras_sigmas=True, timestep_spacing="leading")
    yield add("DPMSolverMultistep", 12, beta_schedule="squaredcos_cap_v2", use_lu_lambdas=True)
    for name in ("EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep", "UniPCMultistep"):
        yield add(name, 2, **SD, rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing")
        yield add(name, 6, **SD, rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing")
    yield add("EulerDiscrete", 6, **SD, interpolation_type="log_linear")
    yield add("EulerDiscrete", 6, **SD, final_sigmas_type="sigma_min")
    yield add("EulerDiscrete", 6, **SD, use_karras_sigmas=True, sigma_min=0.05, sigma_max=12.0)
    yield add("EulerDiscrete", 6, **SD, use_karras_sigmas=True, timestep_type="continuous", prediction_type="v_prediction")
    yield add("EulerDiscrete", 6, **SD, prediction_type="original_sample")
    yield add("HeunDiscrete", 5, beta_schedule="exp")
    yield add("HeunDiscrete", 5, **SD, clip_sample=True, clip_sample_range=2.0)
    for order in (1, 2, 3):
        for algorithm in ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver"):
            for solver in ("midpoint", "heun"):
                if order == 3 and algorithm.startswith("sde"):
                    continue  # sde-dpmsolver has no third order; sde-dpmsolver++'s is wrong upstream (docs/differences.md)
                last = "zero" if algorithm.endswith("++") else "sigma_min"
                for steps in (3, 8, 20):
                    yield add("DPMSolverMultistep", steps, **SD, solver_order=order, algorithm_type=algorithm, solver_type=solver, final_sigmas_type=last)
    for extra in (dict(lower_order_final=False), dict(euler_at_final=True), dict(use_lu_lambdas=True), dict(thresholding=True, sample_max_value=1.5), dict(lambda_min_clipped=-4.0),
                  dict(final_sigmas_type="sigma_min"), dict(algorithm_type="deis", final_sigmas_type="sigma_min"), dict(solver_type="bh2"), dict(lambda_min_clipped=-5.1, beta_schedule="squaredcos_cap_v2"),
                  dict(algorithm_type="dpmsolver", final_sigmas_type="sigma_min", thresholding=True), dict(algorithm_type="dpmsolver", final_sigmas_type="sigma_min", prediction_type="v_prediction"),
                  dict(algorithm_type="dpmsolver", final_sigmas_type="sigma_min", prediction_type="sample")):
        for steps in (5, 16):
            yield add("DPMSolverMultistep", steps, **{**SD, **extra})
    for order in (1, 2, 3):
        for x0 in (True, False):
            for steps in (3, 8):
                yield add("UniPCMultistep", steps, **SD, solver_order=order, predict_x0=x0, solver_type="bh2", final_sigmas_type="sigma_min")
                yield add("UniPCMultistep", steps, **SD, solver_order=order, predict_x0=x0, solver_type="bh1", final_sigmas_type="sigma_min")
    for extra in (dict(disable_corrector=[0, 2]), dict(lower_order_final=False, final_sigmas_type="sigma_min"), dict(thresholding=True), dict(use_karras_sigmas=True, final_sigmas_type="sigma_min"),
                  dict(use_karras_sigmas=True, sigma_min=0.05, sigma_max=12.0), dict(predict_x0=False, prediction_type="v_prediction", final_sigmas_type="sigma_min"), dict(solver_type="heun")):
        yield add("UniPCMultistep", 7, **SD, **extra)


    for spacing in spacings:
        for steps in (1, 2, 3, 10, 25):
            yield add("DDPM", steps, **SD, clip_sample=False, steps_offset=1, timestep_spacing=spacing)
            yield add("DEISMultistep", steps, **SD, steps_offset=1, timestep_spacing=spacing)
    for extra in (dict(), dict(clip_sample_range=2.0), dict(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=2.0), dict(variance_type="fixed_large"), dict(variance_type="fixed_small_log"),
                  dict(prediction_type="v_prediction"), dict(prediction_type="sample"), dict(beta_schedule="sigmoid"), dict(beta_schedule="squaredcos_cap_v2"),
                  dict(rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False)):
        yield add("DDPM", 6, **{**SD, **extra})
    yield add("DDPM", 6)
    yield add("DDPM", 4, trained_betas=[round(0.0001 + i * 0.0199 / 99, 8) for i in range(100)], num_train_timesteps=100)
    for order in (1, 2, 3):
        for extra in (dict(), dict(lower_order_final=False), dict(algorithm_type="dpmsolver++", solver_type="midpoint"), dict(prediction_type="v_prediction"), dict(prediction_type="sample"), dict(thresholding=True, sample_max_value=1.5),
                      dict(use_karras_sigmas=True), dict(use_exponential_sigmas=True), dict(use_beta_sigmas=True), dict(use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2"),
                      dict(use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0), dict(final_sigmas_type="zero")):
            for steps in (3, 20):
                yield add("DEISMultistep", steps, **{**SD, **extra}, solver_order=order)
    ones = [round(0.001 * (i + 1), 8) for i in range(99)] + [1.0]  # zero terminal SNR, as trainers wrote it before the config had a key for it
    for name in ("DDIM", "DDPM"):
        for spacing in ("leading", "trailing"):
            yield add(name, 4, trained_betas=ones, num_train_timesteps=100, prediction_type="v_prediction", timestep_spacing=spacing, clip_sample=False)
    for name in ("PNDM", "EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep", "DEISMultistep"):
        extra = dict(skip_prk_steps=True) if name == "PNDM" else {}
        yield add(name, 4, trained_betas=ones, num_train_timesteps=100, timestep_spacing="leading", **extra)
    yield from newer_grid()
    for given in (False, True):  # the sigmas that FLUX's pipeline gives, and the class's own
        for steps in (1, 2, 4, 28):
            for config in (dict(shift=1.0), dict(shift=3.0), dict(shift=3.0, use_dynamic_shifting=True), dict(use_dynamic_shifting=True, time_shift_type="linear"), dict(shift=3.0, shift_terminal=0.1),
                           dict(use_dynamic_shifting=True, shift_terminal=0.02), dict(shift=2.0, use_karras_sigmas=True), dict(shift=2.0, use_exponential_sigmas=True), dict(use_dynamic_shifting=True, use_beta_sigmas=True),
                           dict(shift=3.0, stochastic_sampling=True), dict(shift=1.5, invert_sigmas=True), dict(shift=3.0, num_train_timesteps=500)):
                if steps == 1 and not given and config.get("shift_terminal"):
                    continue  # 0 / 0 upstream
                name = "FlowMatchEulerDiscrete"
                request = {"sigmas": np.linspace(1.0, 1 / steps, steps).tolist()} if given else {}
                if config.get("use_dynamic_shifting"):
                    request["mu"] = 0.75
                yield (*add(name, steps, **config), request)


def newer_grid():
    def add(name, steps, eta=0.0, request=None, **config):
        return (name + "Scheduler", config, steps, eta, request or {})

    spacings, kinds = ["leading", "linspace", "trailing"], ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"]
    cosine = dict(beta_schedule="squaredcos_cap_v2")
    for steps in (1, 2, 3, 4, 5, 10, 25):  # DPM-Solver in blocks
        for order in (1, 2, 3):
            yield add("DPMSolverSinglestep", steps, **SD, solver_order=order)
    for order in (1, 2, 3):
        for algorithm in ("dpmsolver++", "dpmsolver", "sde-dpmsolver++"):
            for solver in ("midpoint", "heun"):
                if order == 3 and algorithm.startswith("sde") and solver == "heun":
                    continue  # wrong upstream (docs/differences.md)
                for lower in (False, True):
                    for steps in (6, 7):
                        yield add("DPMSolverSinglestep", steps, **SD, solver_order=order, algorithm_type=algorithm, solver_type=solver, lower_order_final=lower, final_sigmas_type="sigma_min")
    for extra in (dict(), dict(prediction_type="v_prediction"), dict(prediction_type="sample"), dict(thresholding=True, sample_max_value=1.5), dict(lambda_min_clipped=-1.0), dict(timestep_spacing="trailing"),
                  *({k: True} for k in kinds), dict(use_karras_sigmas=True, **cosine), dict(use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0), dict(algorithm_type="deis", final_sigmas_type="sigma_min"), dict(solver_type="logrho")):
        yield add("DPMSolverSinglestep", 7, **{**SD, **extra})
    for name in ("KDPM2Discrete", "KDPM2AncestralDiscrete"):
        for spacing in spacings:
            for steps in (1, 2, 3, 10):
                yield add(name, steps, **SD, steps_offset=1, timestep_spacing=spacing)
        for extra in (dict(prediction_type="v_prediction"), *({k: True} for k in kinds), dict(use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0), dict(use_beta_sigmas=True, sigma_min=0.1, sigma_max=10.0)):
            for steps in (2, 7):
                yield add(name, steps, **SD, **extra)
        yield add(name, 5)
        yield add(name, 4, trained_betas=[round(0.0001 + i * 0.0199 / 99, 8) for i in range(100)], num_train_timesteps=100)
    for name, etas in (("LCM", (0.0,)), ("TCD", (0.0, 0.3, 1.0))):
        for eta in etas:
            for steps in (1, 2, 4, 7, 50):
                yield add(name, steps, eta)
            for extra in (dict(original_inference_steps=20), dict(prediction_type="v_prediction"), dict(prediction_type="sample"), dict(beta_schedule="linear"), cosine, dict(num_train_timesteps=500),
                          dict(clip_sample=True, clip_sample_range=0.7), dict(thresholding=True, sample_max_value=1.5), dict(timestep_scaling=0.01), dict(rescale_betas_zero_snr=True, prediction_type="v_prediction")):
                yield add(name, 4, eta, **extra)
            yield add(name, 4, eta, dict(timesteps=[999, 759, 400, 19]))
    for steps in (1, 2, 3, 4, 10, 25):
        yield add("IPNDM", steps)
    yield add("IPNDM", 5, trained_betas=[1.0, 0.8, 0.5, 0.3, 0.1, 0.0])
    for name in ("EDMEuler", "EDMDPMSolverMultistep"):
        for schedule in ("karras", "exponential"):
            for steps in (1, 2, 5, 20):
                yield add(name, steps, sigma_schedule=schedule)
        for extra in (dict(prediction_type="v_prediction"), dict(sigma_min=0.1, sigma_max=10.0, sigma_data=1.0), dict(rho=3.0), dict(final_sigmas_type="sigma_min")):
            yield add(name, 6, **extra)
    for order in (1, 2, 3):
        for algorithm in ("dpmsolver++", "sde-dpmsolver++"):
            for solver in ("midpoint", "heun"):
                if order == 3 and algorithm.startswith("sde"):
                    continue  # fails upstream
                for extra in (dict(), dict(lower_order_final=False), dict(euler_at_final=True), dict(thresholding=True, sample_max_value=1.5)):
                    yield add("EDMDPMSolverMultistep", 16 if extra else 6, solver_order=order, algorithm_type=algorithm, solver_type=solver, **extra)
    for spacing in spacings:
        for steps in (1, 2, 3, 10):
            yield add("SASolver", steps, **SD, steps_offset=1, timestep_spacing=spacing)
    for algorithm in ("data_prediction", "noise_prediction"):
        for predictor in (1, 2, 3):
            for corrector in (1, 2, 3):
                yield add("SASolver", 8, **SD, algorithm_type=algorithm, predictor_order=predictor, corrector_order=corrector)
        for extra in (dict(predictor_order=4, corrector_order=4), dict(lower_order_final=False), dict(prediction_type="v_prediction"), dict(prediction_type="sample"), *({k: True} for k in kinds)):
            yield add("SASolver", 8, **SD, algorithm_type=algorithm, **extra)
    for extra in (dict(thresholding=True, sample_max_value=1.5), dict(lambda_min_clipped=-1.0), dict(use_karras_sigmas=True, **cosine)):
        yield add("SASolver", 8, **{**SD, **extra})
    # Flow matching with the solvers, and the shift by a picture's size.
    flow = dict(use_flow_sigmas=True, prediction_type="flow_prediction")
    for name in ("DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "SASolver"):
        for steps in (1, 4, 9):
            for extra in (dict(), dict(flow_shift=3.0)):
                yield add(name, steps, **flow, **extra)
        if name != "SASolver":
            yield add(name, 5, 0.0, dict(mu=0.75), **flow, use_dynamic_shifting=True)
    for name in ("DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep"):
        yield add(name, 5, **flow, flow_shift=2.0, final_sigmas_type="sigma_min")
    yield add("DPMSolverMultistep", 5, **flow, algorithm_type="sde-dpmsolver++")
    for extra in (dict(shift_terminal=0.1), dict(use_karras_sigmas=True), dict(use_karras_sigmas=True, final_sigmas_type="sigma_min")):
        yield add("UniPCMultistep", 5, **flow, **extra)
    yield add("UniPCMultistep", 5, 0.0, dict(mu=0.75), **flow, use_dynamic_shifting=True, time_shift_type="linear", shift_terminal=0.05)
    yield add("UniPCMultistep", 4, 0.0, dict(sigmas=[1.0, 0.7, 0.4, 0.1]), **flow, flow_shift=3.0)
    # Schedules of the caller's own.
    for name in ("DDPM", "DPMSolverMultistep", "DPMSolverSinglestep", "EulerDiscrete", "HeunDiscrete"):
        yield add(name, 5, 0.0, dict(timesteps=[999, 800, 501, 300, 20]), **SD)
    yield add("DPMSolverMultistep", 4, 0.0, dict(timesteps=[950, 600, 300, 20]), **SD, algorithm_type="sde-dpmsolver++", solver_order=3)
    for extra in (dict(), dict(use_karras_sigmas=True), dict(timestep_spacing="leading"), dict(final_sigmas_type="sigma_min"), dict(prediction_type="v_prediction", timestep_type="continuous")):
        yield add("EulerDiscrete", 4, 0.0, dict(sigmas=[14.615, 6.475, 2.697, 0.5, 0.0]), **SD, **extra)
    yield add("EulerDiscrete", 3, 0.0, dict(sigmas=[10.0, 3.0, 1.0, 0.2]), **SD)
    for extra in (dict(), dict(shift=3.0), dict(shift=3.0, invert_sigmas=True)):
        yield add("FlowMatchEulerDiscrete", 4, 0.0, dict(timesteps=[1000.0, 700.0, 400.0, 100.0]), **extra)
    # A variance that the model learned, and another solver as UniPC's predictor.
    for variance in ("learned", "learned_range"):
        for name in ("DDPM", "DPMSolverMultistep", "DPMSolverSinglestep"):
            yield add(name, 5, 0.0, dict(learned=True), **SD, variance_type=variance, clip_sample=False)
    yield add("DDPM", 5, beta_schedule="laplace", clip_sample=False)
    for solver, spacing in (("DDIMScheduler", "trailing"), ("DPMSolverMultistepScheduler", "linspace")):
        own = dict(_class_name=solver, **SD, timestep_spacing=spacing, **(dict(clip_sample=False) if solver == "DDIMScheduler" else {}))
        yield add("UniPCMultistep", 6, **SD, timestep_spacing=spacing, solver_p=own)


def run(name, config, steps, eta, request=None):
    request = dict(request or {})
    solver_p = config.get("solver_p")
    scheduler = getattr(diffusers, name).from_config({k: v for k, v in config.items() if k != "solver_p"})  # keeps keys that the class does not know, as pipelines do
    if solver_p:
        scheduler.solver_p = getattr(diffusers, solver_p["_class_name"]).from_config(solver_p)
    learned = request.pop("learned", False)
    arguments = dict(request)
    if name == "UniPCMultistepScheduler" and "sigmas" in arguments:
        arguments["sigmas"] = np.array(arguments["sigmas"])
    scheduler.set_timesteps(**arguments) if "sigmas" in arguments or "timesteps" in arguments else scheduler.set_timesteps(steps, **arguments)
    if "timesteps" in request:
        request["own_timesteps"] = request.pop("timesteps")
    if learned:
        request["learned"] = True
    if name == "DEISMultistepScheduler" and (config.get("solver_order") == 3 or config.get("use_flow_sigmas")):
        scheduler.sigmas = scheduler.sigmas.double()  # its coefficients cancel: in float32 up to 7e-4 of the sample is rounding
    if name == "SASolverScheduler":
        scheduler.sigmas = scheduler.sigmas.double()  # likewise
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # without it, schedules whose first timestep stands twice lose their first step
    generators = [torch.Generator("cpu").manual_seed(SEED + i) for i in range(SHAPE[0])]
    init_noise_sigma = float(getattr(scheduler, "init_noise_sigma", 1.0))  # flow matching has none: it begins with noise alone
    shape = LEARNED_SHAPE if learned else SHAPE
    sample = randn_tensor(shape, generator=generators) * init_noise_sigma
    accepts = scheduler.step.__code__.co_varnames
    extra = {**({"eta": eta} if "eta" in accepts else {}), **({"generator": generators} if "generator" in accepts else {})}
    samples = []
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        output = 0.3 * model_input + 0.1 * math.sin(float(t) / 100)
        if learned:
            output = torch.cat([output, 0.1 + 0.05 * torch.sin(model_input)], dim=1)
        sample = scheduler.step(output, t, sample, **extra).prev_sample
        samples.append(sample)
    return request, [float(t) for t in scheduler.timesteps], init_noise_sigma, samples


def main():
    lines, seen = [], set()
    for case in grid():
        name, config, steps, eta = case[:4]
        key = json.dumps(case, sort_keys=True)
        if key in seen:
            continue
        seen.add(key)
        request, timesteps, sigma, samples = run(*case)
        if not all(torch.isfinite(s).all() for s in samples):
            print("not finite upstream, left out:", name, config, steps)
            continue
        rounded = [[float(np.format_float_scientific(v, precision=6)) for v in s.flatten().tolist()] for s in samples]
        lines.append(json.dumps({"class": name, "config": config, "steps": steps, "eta": eta, **request, "timesteps": timesteps, "init_noise_sigma": sigma, "samples": rounded}, separators=(",", ":")))
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n")
    print(len(lines), "cases,", out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
