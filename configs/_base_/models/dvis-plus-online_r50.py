_base_ = './dvis-online_r50.py'
model = dict(
    segmenter=dict(reid=True, normed_embeds=False),
    tracker=dict(channels=512, refer='mlp', project_features=True, normed_outputs=False),
)
