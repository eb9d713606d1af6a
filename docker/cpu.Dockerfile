# mmdvis for CPUs: docker build -f docker/cpu.Dockerfile -t mmdvis .
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/mmdvis
COPY requirements requirements
RUN pip install --no-cache-dir "$(grep ^torch== requirements/constraints.txt)" --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir -r requirements/mminstall.txt -r requirements/runtime.txt -c requirements/constraints.txt
COPY . .
RUN pip install --no-cache-dir --no-deps . && mmdvis doctor
RUN useradd --create-home user
USER user
WORKDIR /data
ENTRYPOINT ["mmdvis"]
CMD ["--help"]
