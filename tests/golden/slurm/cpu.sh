#!/bin/sh
#SBATCH --job-name=salver-cpu
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=33000M
#SBATCH --time=1-02:00
#SBATCH --output=/run/pilots/x-%j.log
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --partition=batch

exec PYTHON -m salver.run.cluster.worker tls://10.0.0.1:8786 --cores 8 --gpus 0 --lifetime 93385 --lifetime-stagger 60 --tls '/a run/keys'
