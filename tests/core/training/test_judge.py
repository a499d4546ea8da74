import torch

from components.core.training import Judge


def test_a_judge_s_answers_are_the_mean_probabilities_of_its_networks() -> None:
    torch.manual_seed(0)
    judge = Judge(classes=3, in_channels=1, members=2).eval()
    images = torch.rand(4, 1, 32, 32) * 2 - 1

    with torch.no_grad():
        answers = judge(images).exp()
        members = [logits.softmax(dim=1) for logits in judge.logits(judge.features(images))]

    torch.testing.assert_close(answers, (members[0] + members[1]) / 2)
