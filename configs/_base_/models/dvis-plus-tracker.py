_base_ = './dvis-online.py'
model = dict(
    segmenter=dict(reid=True, normed_embeds=False),
    tracker=dict(channels=512, refer='mlp', project_features=True, normed_outputs=False),
)
