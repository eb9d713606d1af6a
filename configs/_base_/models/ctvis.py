# MinVIS whose re-identification embeddings are trained with the losses of CTVIS: the first stage of DVIS++
_base_ = './minvis.py'
model = dict(segmenter=dict(reid=dict(contrast=2.0, cosine=3.0), normed_embeds=False), tracker=dict(last_channels=256))
