#!/bin/sh
#SBATCH --job-name=salver-gpu
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=17000M
#SBATCH --time=04:00:00
#SBATCH --output=/run/pilots/x-%j.log
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --gres=gpu:2
#SBATCH --account=proj
#SBATCH --constraint=a100
#SBATCH --exclusive

exec PYTHON -m salver.run.cluster.worker tls://10.0.0.1:8786 --cores 4 --gpus 2 --lifetime 14185 --lifetime-stagger 60 --tls '/a run/keys'
