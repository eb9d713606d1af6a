# mmdvis for NVIDIA GPUs: docker build -f docker/cuda.Dockerfile -t mmdvis:cuda .; docker run --gpus all ...
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/mmdvis
COPY requirements requirements
# gcc compiles the kernels of Triton; the wheel of torch on PyPI contains the CUDA libraries; the driver comes from the host
RUN pip install --no-cache-dir torch -c requirements/constraints.txt \
    && pip install --no-cache-dir -r requirements/mminstall.txt -r requirements/runtime.txt -c requirements/constraints.txt
COPY . .
RUN pip install --no-cache-dir --no-deps . && mmdvis doctor
RUN useradd --create-home user
USER user
WORKDIR /data
ENTRYPOINT ["mmdvis"]
CMD ["--help"]
